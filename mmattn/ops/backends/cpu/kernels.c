/* The functions of a map for float32 and bfloat16 in NCHW on a CPU; ../base.py says what each computes.

   Plain C, with the vectors of vectors.h: compiled by whatever C compiler is there, without PyTorch's
   headers, in a few seconds. Each function reads what it needs once and writes what it makes once. It takes
   ROWS channels a step, so that what it keeps of a position is loaded and stored once for all of them.

   What order sums are taken in depends on the sizes alone, never on the number of threads: the work is cut
   into jobs by the sizes, and what the jobs made is joined in their order. */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifdef __linux__
#include <sys/mman.h>
#endif

typedef int64_t len;

#include "vectors.h"

#if defined __AVX512F__ || defined __aarch64__  /* 32 registers, not 16 */
#define ROWS 8       /* channels a step */
#else
#define ROWS 4
#endif
#define TILE 2048    /* positions that a job keeps statistics of: they stay in the first-level cache */
#define FLUSH 128    /* floats summed in a lane before they go to a longer sum */
#define SHARE 16384  /* elements of a map that are worth waking one more thread for */
#define JOBS 32      /* as many jobs as a map is cut into, if it is large enough */
#define GROUP 256    /* at least so many channels of a job: its statistics are then small beside its map */

static len min(len a, len b) { return a < b ? a : b; }

static int workers(len elements, len jobs, int threads) {
    len worth = min(min(elements / SHARE, jobs), threads);
    return worth < 1 ? 1 : (int)worth;
}

/* Ask for large pages for a new map, whose first touch else takes longer than the arithmetic: a fault for
   every 4 KiB. Only for pages that lie in the map as a whole, so that it takes no more memory. */
static void use_large_pages(void *map, size_t bytes) {
#ifdef MADV_HUGEPAGE
    const uintptr_t page = (uintptr_t)1 << 21;
    uintptr_t from = ((uintptr_t)map + page - 1) / page * page, to = ((uintptr_t)map + bytes) / page * page;
    if (to > from) madvise((void *)from, to - from, MADV_HUGEPAGE);
#else
    (void)map, (void)bytes;
#endif
}

/* A map's jobs: images, tiles of positions, groups of channels. */
typedef struct { len tiles, groups, jobs; } cut;

static cut cut_map(len n, len c, len p) {
    len tiles = (p + TILE - 1) / TILE, groups = min((JOBS + n * tiles - 1) / (n * tiles), c / GROUP);
    if (groups < 1) groups = 1;
    return (cut){tiles, groups, n * tiles * groups};
}

/* The positions and channels of one job; part counts the tiles of all images. */
typedef struct { len image, part, group, from, size, first, last; } piece;

static piece piece_of(len job, cut by, len c, len p) {
    len part = job / by.groups, group = job % by.groups, tile = part % by.tiles;
    len vectors = (p + LANES - 1) / LANES;
    len from = vectors * tile / by.tiles * LANES, to = min(vectors * (tile + 1) / by.tiles * LANES, p);
    return (piece){part / by.tiles, part,      group, from, to - from, c * group / by.groups,
                   c * (group + 1) / by.groups};
}

/* Whether a value takes the place of a maximum, as one does that is not a number. */
#define HIGHER(v, amax) (((v) > (amax)) | ((v) != (v)))

/* Of each position the maximum over the channels, and what an element gets of dstats (n, 2, p): by_mean, and
   both, that and the share of the maximum, if it is the maximum. */
static void stats_shares(piece at, const float *dstats, const float *stats, const float *ties, len c, len p,
                         float *amax, float *both, float *by_mean) {
    for (len i = 0, first = 2 * at.image * p + at.from; i < at.size; i++) {
        amax[i] = stats[first + i];
        by_mean[i] = dstats[first + p + i] / (float)c;
        both[i] = by_mean[i] + dstats[first + i] / ties[at.image * p + at.from + i];
    }
}

/* Maximum, ties and sum of each position, by groups of channels (3, n, groups, p) -> stats (n, 2, p),
   ties (n, p). */
static void join_stats(const float *part, len n, len groups, len c, len p, float *stats, float *ties) {
    for (len b = 0; b < n; b++) {
        float *amax = stats + 2 * b * p, *mean = amax + p, *count = ties + b * p;
        for (len g = 0; g < groups; g++) {
            const float *a = part + (b * groups + g) * p, *t = a + n * groups * p, *sum = t + n * groups * p;
            if (g == 0) {
                memcpy(amax, a, p * sizeof(float));
                memcpy(count, t, p * sizeof(float));
                memcpy(mean, sum, p * sizeof(float));
                continue;
            }
            for (len i = 0; i < p; i++) {
                int higher = HIGHER(a[i], amax[i]);
                count[i] = higher ? t[i] : count[i] + (a[i] == amax[i] ? t[i] : 0);
                amax[i] = higher ? a[i] : amax[i];
                mean[i] += sum[i];
            }
        }
        for (len i = 0; i < p; i++) mean[i] /= (float)c;
    }
}

/* Sums of parts (n, parts, size) -> (n, size). */
static void join(const float *part, len n, len parts, len size, float *sum) {
    for (len b = 0; b < n; b++)
        for (len from = 0; from < size; from += 64) {
            len width = min(size - from, 64);
            double s[64] = {0};
            for (len j = 0; j < parts; j++)
                for (len k = 0; k < width; k++) s[k] += part[(b * parts + j) * size + from + k];
            for (len k = 0; k < width; k++) sum[b * size + from + k] = (float)s[k];
        }
}

/* A row of p positions in parts of at most FLUSH vectors, none of which is shorter than a vector if the row
   is not: part s begins at flush_from(s). */
static len flushes(len p) { return (p + FLUSH * LANES - 1) / (FLUSH * LANES); }
static len flush_from(len s, len p) {
    return min((p + LANES - 1) / LANES * s / flushes(p) * LANES, p);
}

/* What the gradient of a map is made of, as ../base.py names it; each may be absent. */
typedef struct {
    const float *affine, *channel, *spatial, *davg, *damax, *amax, *ties, *dstats, *stats, *stats_ties;
} grads;

/* The part of it that belongs to some positions: gates, maxima, and what stats_shares makes. */
typedef struct { const float *spatial, *amax, *both, *by_mean; } shares;

#define ELEM float
#define NAME(function) mmattn_##function##_float32
#define UP(from) load(from)
#define DOWN(to, v) store(to, v)
#define ROUND(v) (v)
#define ROUND_ONE(f) (f)
#include "kernels_of_type.c"
#include "tail_of_type.c"
#undef NORMED
#undef ELEM
#undef NAME
#undef UP
#undef DOWN
#undef ROUND
#undef ROUND_ONE

INLINE vec from_bf16(const uint16_t *from) {
    bits b = load_upper(from);
    vec v;
    memcpy(&v, &b, sizeof v);
    return v;
}

/* To the nearest in the upper half of the bits, ties to even; what is not a number stays so. */
INLINE bits nearest(vec v) {
    bits b;
    memcpy(&b, &v, sizeof b);
    bits near = b + (((b >> 16) & 1) + 0x7fff);
    mask is_nan = v != v;
    vec up;
    memcpy(&up, &near, sizeof up);
    up = SELECT(is_nan, splat(NAN), up);
    memcpy(&near, &up, sizeof near);
    return near;
}

INLINE void to_bf16(uint16_t *to, vec v) { store_upper(to, nearest(v)); }

INLINE vec rounded_to_bf16(vec v) {
    bits b = nearest(v) & 0xffff0000;
    memcpy(&v, &b, sizeof v);
    return v;
}

INLINE float one_rounded_to_bf16(float f) {
    uint32_t b;
    memcpy(&b, &f, sizeof b);
    b = (b + 0x7fff + ((b >> 16) & 1)) & 0xffff0000;
    float near;
    memcpy(&near, &b, sizeof near);
    return f != f ? f : near;
}

#define ELEM uint16_t
#define NAME(function) mmattn_##function##_bfloat16
#define UP(from) from_bf16(from)
#define DOWN(to, v) to_bf16(to, v)
#define ROUND(v) rounded_to_bf16(v)
#define ROUND_ONE(f) one_rounded_to_bf16(f)
#include "kernels_of_type.c"
#include "tail_of_type.c"
#undef NORMED
