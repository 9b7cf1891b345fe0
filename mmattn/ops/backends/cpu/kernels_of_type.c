/* The functions for maps of ELEM: UP(from) is a vector of elements as floats, DOWN(to, v) writes the nearest
   elements, ROUND(v) is what becomes of floats that are kept as elements, ROUND_ONE(f) of a single one.
   Included by kernels.c, once for each type. Each function without INLINE returns nonzero if there is no
   memory for its partial sums, and is listed in __init__.py. Functions named .._rows take `rows` channels a
   step, ROWS or one: a constant, by which the compiler keeps what belongs to them in registers. */

/* Pointers to rows of `size` elements, `stride` apart, padded to a vector if they are shorter. */
INLINE void NAME(point)(const int rows, const ELEM *x, len stride, len size, ELEM pad[][LANES],
                        const ELEM **row) {
    for (int k = 0; k < rows; k++) {
        row[k] = x + k * stride;
        if (size >= LANES) continue;
        memset(pad[k], 0, sizeof pad[k]);
        row[k] = memcpy(pad[k], row[k], size * sizeof(ELEM));
    }
}

/* Where to write such rows; after that, NAME(unpad) copies what was padded. */
INLINE void NAME(point_out)(const int rows, ELEM *y, len stride, len size, ELEM pad[][LANES], ELEM **out) {
    for (int k = 0; k < rows; k++) out[k] = size < LANES ? pad[k] : y + k * stride;
}

INLINE void NAME(unpad)(const int rows, ELEM *y, len stride, len size, ELEM pad[][LANES]) {
    if (size < LANES)
        for (int k = 0; k < rows; k++) memcpy(y + k * stride, pad[k], size * sizeof(ELEM));
}

/* scale[k] and shift[k] of channel (r + k) % c: 1 and -0, which change nothing, if there is no norm. */
INLINE void NAME(norm_of)(const int rows, const float *affine, len r, len c, vec *scale, vec *shift) {
    for (int k = 0; k < rows; k++) {
        scale[k] = splat(affine ? affine[(r + k) % c] : 1);
        shift[k] = splat(affine ? affine[c + (r + k) % c] : -0.f);
    }
}

/* What the norm makes of v. Multiplication and addition are one operation where they are in ATen, which such
   a compiler built too. */
#define NORMED(v, k) (has_norm ? ROUND((v) * scale[k] + shift[k]) : (v))

/* r: the number of the first row among all channels of all images, here and below. */
INLINE void NAME(pool_rows)(const int rows, const int has_norm, const ELEM *x, const float *affine, len r,
                            len c, len p, float *avg, float *x_avg, float *amax, float *ties) {
    const vec zero = splat(0), one = splat(1);
    ELEM pad[ROWS][LANES];
    const ELEM *row[ROWS];
    vec row_amax[ROWS], row_ties[ROWS], scale[ROWS], shift[ROWS];
    double sum[ROWS] = {0};
    x += r * p, avg += r, ties += r;
    if (amax) amax += r;
    NAME(point)(rows, x, p, p, pad, row);
    NAME(norm_of)(rows, has_norm ? affine : NULL, r, c, scale, shift);
    for (int k = 0; k < rows; k++) row_amax[k] = splat(-INFINITY), row_ties[k] = zero;
    for (len s = 0; s < flushes(p); s++) {
        len from = flush_from(s, p), size = flush_from(s + 1, p) - from;
        vec part[ROWS];
        for (int k = 0; k < rows; k++) part[k] = zero;
        if (amax)
            EACH_VECTOR(size, for (int k = 0; k < rows; k++) {
                vec u = UP(row[k] + from + i), v = NORMED(u, k);
                mask higher = HIGHER(v, row_amax[k]) & on;
                part[k] += SELECT(on, u, zero);
                row_ties[k] = SELECT(higher, one, row_ties[k] + SELECT((v == row_amax[k]) & on, one, zero));
                row_amax[k] = SELECT(higher, v, row_amax[k]);
            });
        else
            EACH_VECTOR(size, for (int k = 0; k < rows; k++) {
                vec v = UP(row[k] + from + i);
                part[k] += SELECT(on, v, zero);
            });
        for (int k = 0; k < rows; k++) sum[k] += sum_of_lanes(part[k]);
    }
    for (int k = 0; k < rows; k++) {
        avg[k] = (float)(sum[k] / (double)p);
        if (has_norm) {
            x_avg[r + k] = avg[k];
            avg[k] = avg[k] * affine[(r + k) % c] + affine[c + (r + k) % c];
        }
        if (!amax) continue;
        float lane_amax[LANES], lane_ties[LANES], of_all = -INFINITY, count = 0;
        store(lane_amax, row_amax[k]);
        store(lane_ties, row_ties[k]);
        for (int j = 0; j < LANES; j++)
            if (HIGHER(lane_amax[j], of_all)) of_all = lane_amax[j];
        for (int j = 0; j < LANES; j++) count += lane_amax[j] == of_all ? lane_ties[j] : 0;
        amax[k] = of_all;
        ties[k] = count;
    }
}

INLINE void NAME(pool_maps)(const int has_norm, const ELEM *x, const float *affine, len rows, len c, len p,
                            float *avg, float *x_avg, float *amax, float *ties, int threads) {
    len jobs = (rows + ROWS - 1) / ROWS;
#pragma omp parallel for schedule(static) num_threads(workers(rows * p, jobs, threads))
    for (len job = 0; job < jobs; job++) {
        len r = job * ROWS;
        if (rows - r >= ROWS)
            NAME(pool_rows)(ROWS, has_norm, x, affine, r, c, p, avg, x_avg, amax, ties);
        else
            for (; r < rows; r++) NAME(pool_rows)(1, has_norm, x, affine, r, c, p, avg, x_avg, amax, ties);
    }
}

/* x (n, c, p) -> means, maxima and ties over p, (n, c) each, the latter two only if amax is given. */
int NAME(pool)(const ELEM *x, const float *affine, len n, len c, len p, float *avg, float *x_avg, float *amax,
               float *ties, int threads) {
    if (affine)
        NAME(pool_maps)(1, x, affine, n * c, c, p, avg, x_avg, amax, ties, threads);
    else
        NAME(pool_maps)(0, x, affine, n * c, c, p, avg, x_avg, amax, ties, threads);
    return 0;
}

INLINE void NAME(stats_rows)(const int rows, const int has_norm, const ELEM *x, const float *affine,
                             const float *channel, len r, len c, len p, len size, float *amax, float *ties,
                             float *part) {
    const vec zero = splat(0), one = splat(1);
    ELEM pad[ROWS][LANES];
    const ELEM *row[ROWS];
    vec gate[ROWS], scale[ROWS], shift[ROWS];
    NAME(point)(rows, x + r * p, p, size, pad, row);
    NAME(norm_of)(rows, has_norm ? affine : NULL, r, c, scale, shift);
    for (int k = 0; k < rows; k++) gate[k] = splat(channel ? ROUND_ONE(channel[r + k]) : 1);
    EACH_VECTOR(size, {
        vec a = load(amax + i), t = load(ties + i), sum = load(part + i);
        for (int k = 0; k < rows; k++) {
            vec u = UP(row[k] + i), v = ROUND(NORMED(u, k) * gate[k]);
            mask higher = HIGHER(v, a) & on;
            sum += SELECT(on, v, zero);
            t = SELECT(higher, one, t + SELECT((v == a) & on, one, zero));
            a = SELECT(higher, v, a);
        }
        store(amax + i, a);
        store(ties + i, t);
        store(part + i, sum);
    });
}

/* Channels first, ..., last - 1 of the piece; sum and part are zero at first. */
INLINE void NAME(stats_piece)(const int has_norm, const ELEM *x, const float *affine, const float *channel,
                              piece at, len c, len p, float *amax, float *ties, float *part, float *sum) {
    for (len k = at.first; k < at.last;) {
        len to = min(k + FLUSH, at.last), r = at.image * c;
        const ELEM *from = x + at.from;
        for (; k + ROWS <= to; k += ROWS)
            NAME(stats_rows)(ROWS, has_norm, from, affine, channel, r + k, c, p, at.size, amax, ties, part);
        for (; k < to; k++)
            NAME(stats_rows)(1, has_norm, from, affine, channel, r + k, c, p, at.size, amax, ties, part);
        for (len i = 0; i < at.size; i++) sum[i] += part[i], part[i] = 0;
    }
}

/* x (n, c, p), channel (n, c) or none -> stats (n, 2, p): amax over c of x * channel and its mean;
   ties (n, p). */
int NAME(stats)(const ELEM *x, const float *affine, const float *channel, len n, len c, len p, float *stats,
                float *ties, int threads) {
    cut by = cut_map(n, c, p);
    len all = n * by.groups * p;
    float *made = by.groups > 1 ? malloc((size_t)(3 * all) * sizeof(float)) : NULL;
    if (by.groups > 1 && !made) return 1;
#pragma omp parallel for schedule(static) num_threads(workers(n * c * p, by.jobs, threads))
    for (len job = 0; job < by.jobs; job++) {
        piece at = piece_of(job, by, c, p);
        float amax[TILE + LANES], count[TILE + LANES], part[TILE + LANES], sum[TILE + LANES];
        for (len i = 0; i < at.size + LANES; i++) amax[i] = -INFINITY, count[i] = 0, part[i] = 0, sum[i] = 0;
        if (affine)
            NAME(stats_piece)(1, x, affine, channel, at, c, p, amax, count, part, sum);
        else
            NAME(stats_piece)(0, x, affine, channel, at, c, p, amax, count, part, sum);
        len first = at.image * p + at.from;
        float *to_amax = stats + at.image * p + first, *to_count = ties + first, *to_sum = to_amax + p;
        float of_all = (float)c;
        if (made) {
            to_amax = made + (at.image * by.groups + at.group) * p + at.from;
            to_count = to_amax + all, to_sum = to_count + all, of_all = 1;
        }
        memcpy(to_amax, amax, at.size * sizeof(float));
        memcpy(to_count, count, at.size * sizeof(float));
        for (len i = 0; i < at.size; i++) to_sum[i] = sum[i] / of_all;
    }
    if (made) join_stats(made, n, by.groups, c, p, stats, ties);
    free(made);
    return 0;
}

INLINE void NAME(apply_gates_rows)(const int rows, const ELEM *x, const float *channel, const float *spatial,
                                   len p, ELEM *y) {
    ELEM pad[ROWS][LANES], out_pad[ROWS][LANES], *out[ROWS];
    const ELEM *row[ROWS];
    float spatial_pad[LANES] = {0};
    vec gate[ROWS];
    NAME(point)(rows, x, p, p, pad, row);
    NAME(point_out)(rows, y, p, p, out_pad, out);
    if (spatial && p < LANES) spatial = memcpy(spatial_pad, spatial, p * sizeof(float));
    for (int k = 0; k < rows; k++) gate[k] = splat(channel ? ROUND_ONE(channel[k]) : 1);
    if (spatial)
        EACH_VECTOR(p, {
            vec s = ROUND(load(spatial + i));
            for (int k = 0; k < rows; k++) DOWN(out[k] + i, ROUND(UP(row[k] + i) * gate[k]) * s);
        });
    else
        EACH_VECTOR(p, for (int k = 0; k < rows; k++) DOWN(out[k] + i, UP(row[k] + i) * gate[k]););
    NAME(unpad)(rows, y, p, p, out_pad);
}

/* y = (x * channel) * spatial, where each may be absent: in this order, as PyTorch's multiplications. */
int NAME(apply_gates)(const ELEM *x, const float *channel, const float *spatial, len n, len c, len p, ELEM *y,
                      int threads) {
    len steps = (c + ROWS - 1) / ROWS;
    use_large_pages(y, n * c * p * sizeof(ELEM));
#pragma omp parallel for schedule(static) num_threads(workers(n * c * p, n * steps, threads))
    for (len job = 0; job < n * steps; job++) {
        len image = job / steps, k = job % steps * ROWS, r = image * c + k;
        const float *gates = spatial ? spatial + image * p : NULL;
        for (len last = min(k + ROWS, c); k < last; k++, r++)
            NAME(apply_gates_rows)(1, x + r * p, channel ? channel + r : NULL, gates, p, y + r * p);
    }
    return 0;
}

INLINE void NAME(dot_rows)(const int rows, const ELEM *dy, const ELEM *x, len p, float *dot) {
    ELEM pad[ROWS][LANES], dy_pad[ROWS][LANES];
    const ELEM *row[ROWS], *dy_row[ROWS];
    double sum[ROWS] = {0};
    NAME(point)(rows, x, p, p, pad, row);
    NAME(point)(rows, dy, p, p, dy_pad, dy_row);
    for (len s = 0; s < flushes(p); s++) {
        len from = flush_from(s, p), size = flush_from(s + 1, p) - from;
        vec part[ROWS];
        for (int k = 0; k < rows; k++) part[k] = splat(0);
        EACH_VECTOR(size, for (int k = 0; k < rows; k++) {
            vec v = UP(dy_row[k] + from + i) * UP(row[k] + from + i);
            part[k] += SELECT(on, v, splat(0));
        });
        for (int k = 0; k < rows; k++) sum[k] += sum_of_lanes(part[k]);
    }
    for (int k = 0; k < rows; k++) dot[k] = (float)sum[k];
}

/* dy, x (rows, p) -> dot (rows) = sum over p of dy * x. */
INLINE void NAME(dots)(const ELEM *dy, const ELEM *x, len rows, len p, float *dot, int threads) {
    len jobs = (rows + ROWS - 1) / ROWS;
#pragma omp parallel for schedule(static) num_threads(workers(rows * p, jobs, threads))
    for (len job = 0; job < jobs; job++) {
        len r = job * ROWS;
        if (rows - r >= ROWS)
            NAME(dot_rows)(ROWS, dy + r * p, x + r * p, p, dot + r);
        else
            for (; r < rows; r++) NAME(dot_rows)(1, dy + r * p, x + r * p, p, dot + r);
    }
}

INLINE void NAME(gates_backward_rows)(const int rows, const ELEM *dy, const ELEM *x, const float *channel,
                                      const float *spatial, len p, len size, float *dchannel,
                                      float *dspatial) {
    ELEM pad[ROWS][LANES], dy_pad[ROWS][LANES];
    const ELEM *row[ROWS], *dy_row[ROWS];
    vec gate[ROWS], part[ROWS];
    NAME(point)(rows, x, p, size, pad, row);
    NAME(point)(rows, dy, p, size, dy_pad, dy_row);
    for (int k = 0; k < rows; k++) gate[k] = splat(channel ? ROUND_ONE(channel[k]) : 1), part[k] = splat(0);
    EACH_VECTOR(size, {
        vec sum = load(dspatial + i), s = load(spatial + i);
        for (int k = 0; k < rows; k++) {
            vec v = UP(dy_row[k] + i) * UP(row[k] + i);
            v = SELECT(on, v, splat(0));
            part[k] += v * s;
            sum += v * gate[k];
        }
        store(dspatial + i, sum);
    });
    for (int k = 0; k < rows; k++) dchannel[k] = sum_of_lanes(part[k]);
}

/* dy, x (n, c, p) -> dchannel (n, c) = sum over p of dy * x * spatial; dspatial (n, p) = sum over c of
   dy * x * channel. Either may be unwanted. */
int NAME(gates_backward)(const ELEM *dy, const ELEM *x, const float *channel, const float *spatial, len n,
                         len c, len p, float *dchannel, float *dspatial, int threads) {
    if (!spatial && !dspatial) {
        NAME(dots)(dy, x, n * c, p, dchannel, threads);
        return 0;
    }
    cut by = cut_map(n, c, p);
    float *of_channel = malloc((size_t)(n * by.tiles * c + n * by.groups * p) * sizeof(float));
    if (!of_channel) return 1;
    float *of_spatial = dspatial && by.groups == 1 ? dspatial : of_channel + n * by.tiles * c;
#pragma omp parallel for schedule(static) num_threads(workers(n * c * p, by.jobs, threads))
    for (len job = 0; job < by.jobs; job++) {
        piece at = piece_of(job, by, c, p);
        float sum[TILE + LANES] = {0}, gates[TILE + LANES] = {0};
        for (len i = 0; i < at.size; i++)
            gates[i] = spatial ? ROUND_ONE(spatial[at.image * p + at.from + i]) : 1;
        len k = at.first, r = at.image * c;
        for (; k + ROWS <= at.last; k += ROWS)
            NAME(gates_backward_rows)(ROWS, dy + (r + k) * p + at.from, x + (r + k) * p + at.from,
                                      channel ? channel + r + k : NULL, gates, p, at.size,
                                      of_channel + at.part * c + k, sum);
        for (; k < at.last; k++)
            NAME(gates_backward_rows)(1, dy + (r + k) * p + at.from, x + (r + k) * p + at.from,
                                      channel ? channel + r + k : NULL, gates, p, at.size,
                                      of_channel + at.part * c + k, sum);
        memcpy(of_spatial + (at.image * by.groups + at.group) * p + at.from, sum, at.size * sizeof(float));
    }
    if (dchannel) join(of_channel, n, by.tiles, c, dchannel);
    if (dspatial && dspatial != of_spatial) join(of_spatial, n, by.groups, p, dspatial);
    free(of_channel);
    return 0;
}

INLINE void NAME(stats_backward_rows)(const int rows, const int has_norm, const ELEM *x, const float *affine,
                                      const float *channel, const float *amax, const float *both,
                                      const float *by_mean, len r, len c, len p, len size, float *dchannel) {
    ELEM pad[ROWS][LANES];
    const ELEM *row[ROWS];
    vec gate[ROWS], part[ROWS], scale[ROWS], shift[ROWS];
    NAME(point)(rows, x + r * p, p, size, pad, row);
    NAME(norm_of)(rows, has_norm ? affine : NULL, r, c, scale, shift);
    for (int k = 0; k < rows; k++) gate[k] = splat(ROUND_ONE(channel[r + k])), part[k] = splat(0);
    EACH_VECTOR(size, {
        vec a = load(amax + i), mean = load(by_mean + i), all = load(both + i);
        for (int k = 0; k < rows; k++) {
            vec u = UP(row[k] + i), v = NORMED(u, k);
            mask is_amax = ROUND(v * gate[k]) == a;
            v *= SELECT(is_amax, all, mean);
            part[k] += SELECT(on, v, splat(0));
        }
    });
    for (int k = 0; k < rows; k++) dchannel[k] = sum_of_lanes(part[k]);
}

INLINE void NAME(stats_backward_piece)(const int has_norm, const ELEM *x, const float *affine,
                                       const float *channel, const float *amax, const float *both,
                                       const float *by_mean, piece at, len c, len p, float *dchannel) {
    len k = at.first, r = at.image * c;
    x += at.from;
    for (; k + ROWS <= at.last; k += ROWS)
        NAME(stats_backward_rows)(ROWS, has_norm, x, affine, channel, amax, both, by_mean, r + k, c, p,
                                  at.size, dchannel + k);
    for (; k < at.last; k++)
        NAME(stats_backward_rows)(1, has_norm, x, affine, channel, amax, both, by_mean, r + k, c, p, at.size,
                                  dchannel + k);
}

/* dchannel (n, c): its share by the statistics of x * channel, whose gradients are dstats (n, 2, p). */
int NAME(stats_backward)(const ELEM *x, const float *affine, const float *channel, const float *dstats,
                         const float *stats, const float *ties, len n, len c, len p, float *dchannel,
                         int threads) {
    cut by = cut_map(n, c, p);
    float *made = malloc((size_t)(n * by.tiles * c) * sizeof(float));
    if (!made) return 1;
#pragma omp parallel for schedule(static) num_threads(workers(n * c * p, by.jobs, threads))
    for (len job = 0; job < by.jobs; job++) {
        piece at = piece_of(job, by, c, p);
        float amax[TILE + LANES], both[TILE + LANES], by_mean[TILE + LANES];
        stats_shares(at, dstats, stats, ties, c, p, amax, both, by_mean);
        float *to = made + at.part * c;
        if (affine)
            NAME(stats_backward_piece)(1, x, affine, channel, amax, both, by_mean, at, c, p, to);
        else
            NAME(stats_backward_piece)(0, x, affine, channel, amax, both, by_mean, at, c, p, to);
    }
    join(made, n, by.tiles, c, dchannel);
    free(made);
    return 0;
}

/* dv_sums, dvx_sums: where sums of dv go, and of dv times x less the norm's mean. */
INLINE void NAME(map_backward_rows)(const int rows, const int has_norm, const int has_sums, const int has_dy,
                                    const int has_stats, const int has_amax, const ELEM *dy, const ELEM *x,
                                    const grads *g, len r, const shares *of, len c, len p, len size, ELEM *dx,
                                    float *dv_sums, float *dvx_sums) {
    const vec zero = splat(0);
    ELEM pad[ROWS][LANES], dy_pad[ROWS][LANES], out_pad[ROWS][LANES], *out[ROWS];
    const ELEM *row[ROWS], *dy_row[ROWS] = {0};
    vec gate[ROWS], by_avg[ROWS], amax[ROWS], by_amax[ROWS], scale[ROWS], shift[ROWS], mean[ROWS];
    vec of_dv[ROWS], of_dvx[ROWS];
    NAME(point)(rows, x, p, size, pad, row);
    if (has_dy) NAME(point)(rows, dy, p, size, dy_pad, dy_row);
    NAME(point_out)(rows, dx, p, size, out_pad, out);
    NAME(norm_of)(rows, has_norm ? g->affine : NULL, r, c, scale, shift);
    for (int k = 0; k < rows; k++) {
        gate[k] = splat(g->channel ? ROUND_ONE(g->channel[r + k]) : 1);
        by_avg[k] = splat(g->davg ? g->davg[r + k] / (float)p : 0);
        amax[k] = splat(has_amax ? g->amax[r + k] : 0);
        by_amax[k] = splat(has_amax ? g->damax[r + k] / g->ties[r + k] : 0);
        mean[k] = splat(has_sums ? g->affine[2 * c + (r + k) % c] : 0);
        of_dv[k] = of_dvx[k] = zero;
    }
    EACH_VECTOR(size, {
        vec s = of->spatial ? ROUND(load(of->spatial + i)) : splat(1), a = zero, both = zero, by_mean = zero;
        if (has_stats) a = load(of->amax + i), both = load(of->both + i), by_mean = load(of->by_mean + i);
        for (int k = 0; k < rows; k++) {
            vec d = has_dy ? UP(dy_row[k] + i) * s : zero, u = zero;
            if (has_stats || has_amax || has_sums) u = UP(row[k] + i);
            vec v = NORMED(u, k);
            if (has_stats) {
                mask is_amax = ROUND(v * gate[k]) == a;
                d += SELECT(is_amax, both, by_mean);
            }
            d = d * gate[k] + by_avg[k];
            if (has_amax) d += SELECT(v == amax[k], by_amax[k], zero);
            if (has_sums) {
                of_dv[k] += SELECT(on, d, zero);
                of_dvx[k] += SELECT(on, d * (u - mean[k]), zero);
            }
            DOWN(out[k] + i, has_norm ? d * scale[k] : d);
        }
    });
    NAME(unpad)(rows, dx, p, size, out_pad);
    if (has_sums)
        for (int k = 0; k < rows; k++) {
            dv_sums[k] = sum_of_lanes(of_dv[k]);
            dvx_sums[k] = sum_of_lanes(of_dvx[k]);
        }
}

/* The channels of a piece. */
INLINE void NAME(map_backward_piece)(const int has_norm, const int has_sums, const int has_dy,
                                     const int has_stats, const int has_amax, const ELEM *dy, const ELEM *x,
                                     const grads *g, piece at, const shares *of, len c, len p, ELEM *dx,
                                     float *dv_sums, float *dvx_sums) {
    len k = at.first, r = at.image * c;
    const int rows = has_sums ? (ROWS + 1) / 2 : ROWS;  /* as many as there are registers for */
    dy += at.from, x += at.from, dx += at.from;
    if (has_stats || has_sums) for (; k + rows <= at.last; k += rows)
        NAME(map_backward_rows)(rows, has_norm, has_sums, has_dy, has_stats, has_amax, dy + (r + k) * p,
                                x + (r + k) * p, g, r + k, of, c, p, at.size, dx + (r + k) * p,
                                has_sums ? dv_sums + k : NULL, has_sums ? dvx_sums + k : NULL);
    for (; k < at.last; k++)
        NAME(map_backward_rows)(1, has_norm, has_sums, has_dy, has_stats, has_amax, dy + (r + k) * p,
                                x + (r + k) * p, g, r + k, of, c, p, at.size, dx + (r + k) * p,
                                has_sums ? dv_sums + k : NULL, has_sums ? dvx_sums + k : NULL);
}

/* dv = (dy * spatial + by the statistics) * channel + by the pooling: all but x and dx may be absent.
   dx = dv * scale, or dv without a norm. sums (2, c), if wanted: over n and p, of dv and of dv times x less
   the norm's mean. */
int NAME(map_backward)(const ELEM *dy, const ELEM *x, const float *affine, const float *channel,
                       const float *spatial, const float *davg, const float *damax, const float *amax,
                       const float *ties, const float *dstats, const float *stats, const float *stats_ties,
                       len n, len c, len p, ELEM *dx, float *sums, int threads) {
    const grads g = {affine, channel, spatial, davg, damax, amax, ties, dstats, stats, stats_ties};
    cut by = cut_map(n, c, p);
    if (!stats && !sums) by = (cut){1, (c + 7) / 8, n * ((c + 7) / 8)};  /* nothing is kept of a position */
    len all = n * by.tiles * c;
    float *made = sums ? malloc((size_t)(2 * all) * sizeof(float)) : NULL;
    if (sums && !made) return 1;
    use_large_pages(dx, n * c * p * sizeof(ELEM));
    const ELEM *some = dy ? dy : x;  /* no arithmetic with a null pointer */
#pragma omp parallel for schedule(static) num_threads(workers(n * c * p, by.jobs, threads))
    for (len job = 0; job < by.jobs; job++) {
        piece at = piece_of(job, by, c, p);
        float spatial_pad[LANES] = {0}, of_amax[TILE + LANES], both[TILE + LANES], by_mean[TILE + LANES];
        shares of = {spatial ? spatial + at.image * p + at.from : NULL, of_amax, both, by_mean};
        if (spatial && at.size < LANES)
            of.spatial = memcpy(spatial_pad, of.spatial, at.size * sizeof(float));
        if (stats) stats_shares(at, dstats, stats, stats_ties, c, p, of_amax, both, by_mean);
        float *dv_sums = made ? made + at.part * c : NULL, *dvx_sums = made ? dv_sums + all : NULL;
#define PIECE(has_norm, has_sums, has_dy, has_stats, has_amax)                                         \
    NAME(map_backward_piece)(has_norm, has_sums, has_dy, has_stats, has_amax, some, x, &g, at, &of, c, p, \
                             dx, dv_sums, dvx_sums)
        if (dy && stats && damax && made) /* CBAM's tail */
            PIECE(1, 1, 1, 1, 1);
        else if (dy && stats && damax && !affine) /* CBAM */
            PIECE(0, 0, 1, 1, 1);
        else if (dy && !stats && !damax && !made && affine) /* SE's tail */
            PIECE(1, 0, 1, 0, 0);
        else if (dy && !stats && !damax && !made) /* SE */
            PIECE(0, 0, 1, 0, 0);
        else
            PIECE(affine != NULL, made != NULL, dy != NULL, stats != NULL, damax != NULL);
#undef PIECE
    }
    if (made) {
        join(made, 1, n * by.tiles, c, sums);
        join(made + all, 1, n * by.tiles, c, sums + c);
    }
    free(made);
    return 0;
}
