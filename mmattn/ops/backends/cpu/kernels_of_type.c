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

INLINE void NAME(pool_rows)(const int rows, const ELEM *x, len p, float *avg, float *amax, float *ties) {
    const vec zero = splat(0), one = splat(1);
    ELEM pad[ROWS][LANES];
    const ELEM *row[ROWS];
    vec row_amax[ROWS], row_ties[ROWS];
    double sum[ROWS] = {0};
    NAME(point)(rows, x, p, p, pad, row);
    for (int k = 0; k < rows; k++) row_amax[k] = splat(-INFINITY), row_ties[k] = zero;
    for (len s = 0; s < flushes(p); s++) {
        len from = flush_from(s, p), size = flush_from(s + 1, p) - from;
        vec part[ROWS];
        for (int k = 0; k < rows; k++) part[k] = zero;
        if (amax)
            EACH_VECTOR(size, for (int k = 0; k < rows; k++) {
                vec v = UP(row[k] + from + i);
                mask higher = HIGHER(v, row_amax[k]) & on;
                part[k] += SELECT(on, v, zero);
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

/* x (rows, p) -> sum / p, amax, ties (rows), the latter two only if amax is given. */
int NAME(pool)(const ELEM *x, len rows, len p, float *avg, float *amax, float *ties, int threads) {
    len jobs = (rows + ROWS - 1) / ROWS;
#pragma omp parallel for schedule(static) num_threads(workers(rows * p, jobs, threads))
    for (len job = 0; job < jobs; job++) {
        len r = job * ROWS;
        if (rows - r >= ROWS)
            NAME(pool_rows)(ROWS, x + r * p, p, avg + r, amax ? amax + r : NULL, amax ? ties + r : NULL);
        else
            for (; r < rows; r++)
                NAME(pool_rows)(1, x + r * p, p, avg + r, amax ? amax + r : NULL, amax ? ties + r : NULL);
    }
    return 0;
}

INLINE void NAME(stats_rows)(const int rows, const ELEM *x, const float *channel, len p, len size,
                             float *amax, float *ties, float *part) {
    const vec zero = splat(0), one = splat(1);
    ELEM pad[ROWS][LANES];
    const ELEM *row[ROWS];
    vec gate[ROWS];
    NAME(point)(rows, x, p, size, pad, row);
    for (int k = 0; k < rows; k++) gate[k] = splat(channel ? ROUND_ONE(channel[k]) : 1);
    EACH_VECTOR(size, {
        vec a = load(amax + i), t = load(ties + i), sum = load(part + i);
        for (int k = 0; k < rows; k++) {
            vec v = ROUND(UP(row[k] + i) * gate[k]);
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

/* x (n, c, p), channel (n, c) or none -> stats (n, 2, p): amax over c of x * channel and its mean;
   ties (n, p). */
int NAME(stats)(const ELEM *x, const float *channel, len n, len c, len p, float *stats, float *ties,
                int threads) {
    cut by = cut_map(n, c, p);
    len all = n * by.groups * p;
    float *made = by.groups > 1 ? malloc((size_t)(3 * all) * sizeof(float)) : NULL;
    if (by.groups > 1 && !made) return 1;
#pragma omp parallel for schedule(static) num_threads(workers(n * c * p, by.jobs, threads))
    for (len job = 0; job < by.jobs; job++) {
        piece at = piece_of(job, by, c, p);
        float amax[TILE + LANES], count[TILE + LANES], part[TILE + LANES], sum[TILE + LANES];
        for (len i = 0; i < at.size + LANES; i++) amax[i] = -INFINITY, count[i] = 0, part[i] = 0, sum[i] = 0;
        for (len k = at.first; k < at.last;) {
            len to = min(k + FLUSH, at.last), r = at.image * c;
            for (; k + ROWS <= to; k += ROWS)
                NAME(stats_rows)(ROWS, x + (r + k) * p + at.from, channel ? channel + r + k : NULL, p,
                                 at.size, amax, count, part);
            for (; k < to; k++)
                NAME(stats_rows)(1, x + (r + k) * p + at.from, channel ? channel + r + k : NULL, p, at.size,
                                 amax, count, part);
            for (len i = 0; i < at.size; i++) sum[i] += part[i], part[i] = 0;
        }
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

INLINE void NAME(stats_backward_rows)(const int rows, const ELEM *x, const float *channel, const float *amax,
                                      const float *both, const float *by_mean, len p, len size,
                                      float *dchannel) {
    ELEM pad[ROWS][LANES];
    const ELEM *row[ROWS];
    vec gate[ROWS], part[ROWS];
    NAME(point)(rows, x, p, size, pad, row);
    for (int k = 0; k < rows; k++) gate[k] = splat(ROUND_ONE(channel[k])), part[k] = splat(0);
    EACH_VECTOR(size, {
        vec a = load(amax + i), mean = load(by_mean + i), all = load(both + i);
        for (int k = 0; k < rows; k++) {
            vec v = UP(row[k] + i);
            mask is_amax = ROUND(v * gate[k]) == a;
            v *= SELECT(is_amax, all, mean);
            part[k] += SELECT(on, v, splat(0));
        }
    });
    for (int k = 0; k < rows; k++) dchannel[k] = sum_of_lanes(part[k]);
}

/* dchannel (n, c): its share by the statistics of x * channel, whose gradients are dstats (n, 2, p). */
int NAME(stats_backward)(const ELEM *x, const float *channel, const float *dstats, const float *stats,
                         const float *ties, len n, len c, len p, float *dchannel, int threads) {
    cut by = cut_map(n, c, p);
    float *made = malloc((size_t)(n * by.tiles * c) * sizeof(float));
    if (!made) return 1;
#pragma omp parallel for schedule(static) num_threads(workers(n * c * p, by.jobs, threads))
    for (len job = 0; job < by.jobs; job++) {
        piece at = piece_of(job, by, c, p);
        float amax[TILE + LANES], both[TILE + LANES], by_mean[TILE + LANES];
        stats_shares(at, dstats, stats, ties, c, p, amax, both, by_mean);
        len k = at.first, r = at.image * c;
        for (; k + ROWS <= at.last; k += ROWS)
            NAME(stats_backward_rows)(ROWS, x + (r + k) * p + at.from, channel + r + k, amax, both, by_mean,
                                      p, at.size, made + at.part * c + k);
        for (; k < at.last; k++)
            NAME(stats_backward_rows)(1, x + (r + k) * p + at.from, channel + r + k, amax, both, by_mean, p,
                                      at.size, made + at.part * c + k);
    }
    join(made, n, by.tiles, c, dchannel);
    free(made);
    return 0;
}

/* r: the first row's number among all channels of all images. */
INLINE void NAME(map_backward_rows)(const int rows, const int has_dy, const int has_stats, const int has_amax,
                                    const ELEM *dy, const ELEM *x, const grads *g, len r, const shares *of,
                                    len p, len size, ELEM *dx) {
    const vec zero = splat(0);
    ELEM pad[ROWS][LANES], dy_pad[ROWS][LANES], out_pad[ROWS][LANES], *out[ROWS];
    const ELEM *row[ROWS], *dy_row[ROWS] = {0};
    vec gate[ROWS], by_avg[ROWS], amax[ROWS], by_amax[ROWS];
    NAME(point)(rows, x, p, size, pad, row);
    if (has_dy) NAME(point)(rows, dy, p, size, dy_pad, dy_row);
    NAME(point_out)(rows, dx, p, size, out_pad, out);
    for (int k = 0; k < rows; k++) {
        gate[k] = splat(g->channel ? ROUND_ONE(g->channel[r + k]) : 1);
        by_avg[k] = splat(g->davg ? g->davg[r + k] / (float)p : 0);
        amax[k] = splat(has_amax ? g->amax[r + k] : 0);
        by_amax[k] = splat(has_amax ? g->damax[r + k] / g->ties[r + k] : 0);
    }
    EACH_VECTOR(size, {
        vec s = of->spatial ? ROUND(load(of->spatial + i)) : splat(1), a = zero, both = zero, by_mean = zero;
        if (has_stats) a = load(of->amax + i), both = load(of->both + i), by_mean = load(of->by_mean + i);
        for (int k = 0; k < rows; k++) {
            vec d = has_dy ? UP(dy_row[k] + i) * s : zero, v = zero;
            if (has_stats || has_amax) v = UP(row[k] + i);
            if (has_stats) {
                mask is_amax = ROUND(v * gate[k]) == a;
                d += SELECT(is_amax, both, by_mean);
            }
            d = d * gate[k] + by_avg[k];
            if (has_amax) d += SELECT(v == amax[k], by_amax[k], zero);
            DOWN(out[k] + i, d);
        }
    });
    NAME(unpad)(rows, dx, p, size, out_pad);
}

/* The channels and positions of one job; r is the first row of its image. */
INLINE void NAME(map_backward_piece)(const int has_dy, const int has_stats, const int has_amax,
                                     const ELEM *dy, const ELEM *x, const grads *g, len r, piece at,
                                     const shares *of, len p, ELEM *dx) {
    len k = at.first;
    for (; has_stats && k + ROWS <= at.last; k += ROWS)  /* else it is fastest one row after the other */
        NAME(map_backward_rows)(ROWS, has_dy, has_stats, has_amax, dy + (r + k) * p + at.from,
                                x + (r + k) * p + at.from, g, r + k, of, p, at.size,
                                dx + (r + k) * p + at.from);
    for (; k < at.last; k++)
        NAME(map_backward_rows)(1, has_dy, has_stats, has_amax, dy + (r + k) * p + at.from,
                                x + (r + k) * p + at.from, g, r + k, of, p, at.size,
                                dx + (r + k) * p + at.from);
}

/* dx = (dy * spatial + by the statistics) * channel + by the pooling. All but x and dx may be absent. */
int NAME(map_backward)(const ELEM *dy, const ELEM *x, const float *channel, const float *spatial,
                       const float *davg, const float *damax, const float *amax, const float *ties,
                       const float *dstats, const float *stats, const float *stats_ties, len n, len c, len p,
                       ELEM *dx, int threads) {
    const grads g = {channel, spatial, davg, damax, amax, ties, dstats, stats, stats_ties};
    cut by = cut_map(n, c, p);
    if (!stats) by = (cut){1, (c + 7) / 8, n * ((c + 7) / 8)};  /* nothing is kept of a position */
    use_large_pages(dx, n * c * p * sizeof(ELEM));
    const ELEM *some = dy ? dy : x;  /* no arithmetic with a null pointer */
#pragma omp parallel for schedule(static) num_threads(workers(n * c * p, by.jobs, threads))
    for (len job = 0; job < by.jobs; job++) {
        piece at = piece_of(job, by, c, p);
        len r = at.image * c;
        float spatial_pad[LANES] = {0}, of_amax[TILE + LANES], both[TILE + LANES], by_mean[TILE + LANES];
        shares of = {spatial ? spatial + at.image * p + at.from : NULL, of_amax, both, by_mean};
        if (spatial && at.size < LANES)
            of.spatial = memcpy(spatial_pad, of.spatial, at.size * sizeof(float));
        if (stats) stats_shares(at, dstats, stats, stats_ties, c, p, of_amax, both, by_mean);
        if (stats && dy && damax)  /* CBAM */
            NAME(map_backward_piece)(1, 1, 1, some, x, &g, r, at, &of, p, dx);
        else if (dy && !stats && !damax)  /* SE */
            NAME(map_backward_piece)(1, 0, 0, some, x, &g, r, at, &of, p, dx);
        else
            NAME(map_backward_piece)(dy != NULL, stats != NULL, damax != NULL, some, x, &g, r, at, &of, p,
                                     dx);
    }
    return 0;
}
