/* Vectors of LANES floats, as wide as the processor's registers, by the extensions that GCC and Clang share.
   With another compiler, or -DLANES=1, each is one float: the same code, and the same results up to the order
   of sums. */
#include <stdint.h>
#include <string.h>

#ifndef LANES
#if defined __clang__ || defined __GNUC__ && __GNUC__ >= 9
#if defined __AVX512F__
#define LANES 16
#elif defined __AVX__
#define LANES 8
#else
#define LANES 4
#endif
#else
#define LANES 1
#endif
#endif

#ifdef __GNUC__
#define INLINE static inline __attribute__((always_inline))
#else
#define INLINE static inline
#endif

#ifdef __has_builtin
#if __has_builtin(__builtin_shufflevector) && defined __BYTE_ORDER__
#define CAN_SHUFFLE (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__)
#endif
#endif

/* SELECT is a where the mask is set, else b. */
#if LANES > 1
typedef float vec __attribute__((vector_size(4 * LANES)));
typedef int32_t mask __attribute__((vector_size(4 * LANES)));
typedef uint32_t bits __attribute__((vector_size(4 * LANES)));
typedef uint16_t halves __attribute__((vector_size(2 * LANES)));
typedef uint16_t pairs __attribute__((vector_size(4 * LANES)));
#if LANES == 16
#define OF_EACH_LANE(f) f(0), f(1), f(2), f(3), f(4), f(5), f(6), f(7), \
                        f(8), f(9), f(10), f(11), f(12), f(13), f(14), f(15)
#elif LANES == 8
#define OF_EACH_LANE(f) f(0), f(1), f(2), f(3), f(4), f(5), f(6), f(7)
#else
#define OF_EACH_LANE(f) f(0), f(1), f(2), f(3)
#endif
#define SELECT(m, a, b) ((vec)(((m) & (mask)(a)) | (~(m) & (mask)(b))))
#else
typedef float vec;
typedef int32_t mask;
typedef uint32_t bits;
#define SELECT(m, a, b) ((m) ? (a) : (b))
#endif

INLINE vec splat(float f) { return f - (vec){0}; }  /* a sum would make +0 of -0 */

INLINE vec load(const float *from) {
    vec v;
    memcpy(&v, from, sizeof v);
    return v;
}

INLINE void store(float *to, vec v) { memcpy(to, &v, sizeof v); }

/* The lanes from, ..., to - 1. */
INLINE mask lanes(int from, int to) {
    static const int32_t number[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    mask m;
    memcpy(&m, number, sizeof m);
    return (m >= from) & (m < to);
}

/* 16 bits from each of LANES places in memory, as the upper bits of 32. */
INLINE bits load_upper(const uint16_t *from) {
#if LANES > 1
    halves h;
    memcpy(&h, from, sizeof h);
#if CAN_SHUFFLE  /* one instruction; a conversion takes four */
    const halves zero = {0};
#define PAIR(j) j, LANES + j
    return (bits)__builtin_shufflevector(zero, h, OF_EACH_LANE(PAIR));
#else
    return __builtin_convertvector(h, bits) << 16;
#endif
#else
    return (bits)*from << 16;
#endif
}

/* The upper 16 bits of 32 to each of LANES places in memory. */
INLINE void store_upper(uint16_t *to, bits b) {
#if LANES > 1
#if CAN_SHUFFLE
    const pairs both = (pairs)b;
#define UPPER(j) 2 * j + 1
    const halves h = __builtin_shufflevector(both, both, OF_EACH_LANE(UPPER));
#else
    const halves h = __builtin_convertvector(b >> 16, halves);
#endif
    memcpy(to, &h, sizeof h);
#else
    *to = (uint16_t)(b >> 16);
#endif
}

INLINE float sum_of_lanes(vec v) {
    float lane[LANES];
    memcpy(lane, &v, sizeof v);
    for (int half = LANES / 2; half; half /= 2)
        for (int j = 0; j < half; j++) lane[j] += lane[j + half];
    return lane[0];
}

/* The statements for every vector of positions 0, ..., size - 1, of which i is the first; `on` are the lanes
   whose turn it is. The last vector overlaps the one before it: nothing beyond the row is read or written. A
   row shorter than a vector has to be padded to one. */
#define EACH_VECTOR(size, ...)                                      \
    do {                                                            \
        len i = 0;                                                  \
        for (; i + LANES <= (size); i += LANES) {                   \
            const mask on = (mask){0} - 1;                          \
            (void)on;                                               \
            __VA_ARGS__                                             \
        }                                                           \
        if (i < (size)) {                                           \
            const len done = i;                                     \
            i = (size) < LANES ? 0 : (size) - LANES;                \
            const mask on = lanes((int)(done - i), (int)((size) - i)); \
            (void)on;                                               \
            __VA_ARGS__                                             \
        }                                                           \
    } while (0)
