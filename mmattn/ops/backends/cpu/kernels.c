/* The functions of a map for float32 and bfloat16 in NCHW on a CPU; ../base.py says what each computes.

   Plain C: compiled by whatever C compiler is there, without PyTorch's headers, in a second or two.
   Each function reads what it needs once and writes what it makes once. What order sums are taken in
   depends on the sizes alone, never on the number of threads. */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define TILE 1024   /* positions that a thread keeps statistics of: they stay in the first-level cache */
#define LANES 32    /* running sums side by side, so that the compiler can use vector registers */
#define FLUSH 128   /* channels summed in float before they go to a longer sum */

typedef int64_t len;

/* Small maps are not worth waking threads for. */
static int enough(len n, int threads) { return n < 32768 ? 1 : threads; }

static len tiles(len p) { return (p + TILE - 1) / TILE; }

/* Positions of an image that one job works on. */
typedef struct { len image, from, size; } tile;

static inline tile tile_of(len job, len p) {
    len from = job % tiles(p) * TILE;
    return (tile){job / tiles(p), from, p - from < TILE ? p - from : TILE};
}

/* The statements for each i of from, ..., to - 1, and its lane j. */
#define IN_LANES(from, to, ...)                                                \
    do {                                                                       \
        len whole = (from) + ((to) - (from)) / LANES * LANES;                  \
        for (len start = (from); start < whole; start += LANES)                \
            for (int j = 0; j < LANES; j++) { len i = start + j; __VA_ARGS__ } \
        for (len i = whole; i < (to); i++) { len j = i - whole; __VA_ARGS__ }  \
    } while (0)

static float sum_of_lanes(const float *lane) {
    float s = 0;
    for (int j = 0; j < LANES; j++) s += lane[j];
    return s;
}

/* Of each position the maximum over the channels, and what an element gets of dstats (n, 2, p): by_mean, and
   by_amax if it is the maximum. */
static inline void stats_shares(tile at, const float *dstats, const float *stats, const float *ties, len c,
                                len p, float *amax, float *by_amax, float *by_mean) {
    for (len i = 0, first = 2 * at.image * p + at.from; i < at.size; i++) {
        amax[i] = stats[first + i];
        by_amax[i] = dstats[first + i] / ties[at.image * p + at.from + i];
        by_mean[i] = dstats[first + p + i] / (float)c;
    }
}

/* Sums of t tiles (n, t, c) -> dchannel (n, c). */
static void join(const double *part, len n, len t, len c, float *dchannel) {
    for (len b = 0; b < n; b++)
        for (len k = 0; k < c; k++) {
            double s = 0;
            for (len j = 0; j < t; j++) s += part[(b * t + j) * c + k];
            dchannel[b * c + k] = (float)s;
        }
}

static inline float from_bf16(uint16_t e) {
    uint32_t bits = (uint32_t)e << 16;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* To the nearest, ties to even; what is not a number stays so. */
static inline uint16_t to_bf16(float f) {
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    uint32_t near = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    return (uint16_t)(f != f ? 0x7fc0 : near);
}

#define ELEM float
#define NAME(function) mmattn_##function##_float32
#define UP(e) (e)
#define DOWN(f) (f)
#define ROUND(f) (f)
#include "kernels_of_type.c"
#undef ELEM
#undef NAME
#undef UP
#undef DOWN
#undef ROUND

#define ELEM uint16_t
#define NAME(function) mmattn_##function##_bfloat16
#define UP(e) from_bf16(e)
#define DOWN(f) to_bf16(f)
#define ROUND(f) from_bf16(to_bf16(f))
#include "kernels_of_type.c"
