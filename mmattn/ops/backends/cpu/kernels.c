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

static float lanes_sum(const float *lane) {
    float s = 0;
    for (int k = 0; k < LANES; k++) s += lane[k];
    return s;
}

static void join(const double *part, len n, len t, len c, float *dg) {
    for (len b = 0; b < n; b++)
        for (len k = 0; k < c; k++) {
            double s = 0;
            for (len j = 0; j < t; j++) s += part[(b * t + j) * c + k];
            dg[b * c + k] = (float)s;
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
