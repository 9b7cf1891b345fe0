/* The functions for maps of ELEM: UP(e) is its value as a float, DOWN(f) the nearest element, ROUND(f) what
   becomes of a float that is kept as an element. Included by kernels.c, once for each type. Each function
   returns nonzero if there is no memory for its partial sums, and is listed in __init__.py. */

/* x (rows, p) -> sum / p, amax, ties (rows), the latter two only if amax is given. */
int NAME(pool)(const ELEM *x, len rows, len p, float *avg, float *amax, float *ties, int threads) {
#pragma omp parallel for schedule(static) num_threads(enough(rows * p, threads))
    for (len r = 0; r < rows; r++) {
        const ELEM *row = x + r * p;
        float lane_amax[LANES], lane_ties[LANES];
        double sum = 0;
        for (int j = 0; j < LANES; j++) lane_amax[j] = -INFINITY, lane_ties[j] = 0;
        for (len from = 0; from < p; from += TILE) {
            len to = from + TILE < p ? from + TILE : p;
            float lane_sum[LANES] = {0};
            IN_LANES(from, to, { lane_sum[j] += UP(row[i]); });
            sum += sum_of_lanes(lane_sum);
            if (!amax) continue;
            IN_LANES(from, to, {
                float v = UP(row[i]);
                int higher = (v > lane_amax[j]) | (v != v);
                lane_ties[j] = higher ? 1.f : lane_ties[j] + (v == lane_amax[j]);
                lane_amax[j] = higher ? v : lane_amax[j];
            });
        }
        avg[r] = (float)(sum / (double)p);
        if (!amax) continue;
        float row_amax = lane_amax[0], row_ties = 0;
        for (int j = 1; j < LANES; j++)
            if ((lane_amax[j] > row_amax) | (lane_amax[j] != lane_amax[j])) row_amax = lane_amax[j];
        for (int j = 0; j < LANES; j++) row_ties += lane_amax[j] == row_amax ? lane_ties[j] : 0;
        amax[r] = row_amax;
        ties[r] = row_ties;
    }
    return 0;
}

/* x (n, c, p), channel (n, c) or none -> stats (n, 2, p): amax over c of x * channel and its mean;
   ties (n, p). */
int NAME(stats)(const ELEM *x, const float *channel, len n, len c, len p, float *stats, float *ties,
                int threads) {
    len jobs = n * tiles(p);
#pragma omp parallel for schedule(static) num_threads(enough(n * c * p, threads))
    for (len job = 0; job < jobs; job++) {
        tile at = tile_of(job, p);
        float tile_amax[TILE], tile_ties[TILE], part[TILE], sum[TILE];
        for (len i = 0; i < at.size; i++) tile_amax[i] = -INFINITY, tile_ties[i] = 0, part[i] = 0, sum[i] = 0;
        for (len k = 0; k < c; k++) {
            len r = at.image * c + k;
            const ELEM *row = x + r * p + at.from;
            float channel_gate = channel ? ROUND(channel[r]) : 1.f;
            for (len i = 0; i < at.size; i++) {
                float v = ROUND(UP(row[i]) * channel_gate);
                int higher = (v > tile_amax[i]) | (v != v);
                part[i] += v;
                tile_ties[i] = higher ? 1.f : tile_ties[i] + (v == tile_amax[i]);
                tile_amax[i] = higher ? v : tile_amax[i];
            }
            if (k % FLUSH == FLUSH - 1 || k == c - 1)
                for (len i = 0; i < at.size; i++) sum[i] += part[i], part[i] = 0;
        }
        for (len i = 0, first = at.image * p + at.from; i < at.size; i++) {
            stats[first + at.image * p + i] = tile_amax[i];
            stats[first + at.image * p + p + i] = sum[i] / (float)c;
            ties[first + i] = tile_ties[i];
        }
    }
    return 0;
}

/* y = (x * channel) * spatial, where each may be absent: in this order, as PyTorch's multiplications. */
int NAME(apply_gates)(const ELEM *x, const float *channel, const float *spatial, len n, len c, len p,
                      ELEM *y, int threads) {
#pragma omp parallel for schedule(static) num_threads(enough(n * c * p, threads))
    for (len r = 0; r < n * c; r++) {
        const ELEM *row = x + r * p;
        const float *gates = spatial ? spatial + r / c * p : NULL;
        ELEM *out = y + r * p;
        float channel_gate = channel ? ROUND(channel[r]) : 1.f;
        if (gates)
            for (len i = 0; i < p; i++) out[i] = DOWN(ROUND(UP(row[i]) * channel_gate) * ROUND(gates[i]));
        else
            for (len i = 0; i < p; i++) out[i] = DOWN(UP(row[i]) * channel_gate);
    }
    return 0;
}

/* dy, x (n, c, p) -> dchannel (n, c) = sum over p of dy * x * spatial; dspatial (n, p) = sum over c of
   dy * x * channel. Either may be unwanted. */
int NAME(gates_backward)(const ELEM *dy, const ELEM *x, const float *channel, const float *spatial, len n,
                         len c, len p, float *dchannel, float *dspatial, int threads) {
    len jobs = n * tiles(p);
    double *part = malloc((size_t)(jobs * c + 1) * sizeof(double));
    if (!part) return 1;
#pragma omp parallel for schedule(static) num_threads(enough(n * c * p, threads))
    for (len job = 0; job < jobs; job++) {
        tile at = tile_of(job, p);
        len first = at.image * p + at.from;
        float sum[TILE] = {0}, spatial_gate[TILE];
        for (len i = 0; i < at.size; i++) spatial_gate[i] = spatial ? ROUND(spatial[first + i]) : 1.f;
        for (len k = 0; k < c; k++) {
            len r = at.image * c + k;
            const ELEM *dy_row = dy + r * p + at.from, *row = x + r * p + at.from;
            float channel_gate = channel ? ROUND(channel[r]) : 1.f, lane_sum[LANES] = {0};
            IN_LANES(0, at.size, {
                float v = UP(dy_row[i]) * UP(row[i]);
                lane_sum[j] += v * spatial_gate[i];
                sum[i] += v * channel_gate;
            });
            part[job * c + k] = sum_of_lanes(lane_sum);
        }
        if (dspatial) memcpy(dspatial + first, sum, at.size * sizeof(float));
    }
    if (dchannel) join(part, n, tiles(p), c, dchannel);
    free(part);
    return 0;
}

/* dchannel (n, c): its share by the statistics of x * channel, whose gradients are dstats (n, 2, p). */
int NAME(stats_backward)(const ELEM *x, const float *channel, const float *dstats, const float *stats,
                         const float *ties, len n, len c, len p, float *dchannel, int threads) {
    len jobs = n * tiles(p);
    double *part = malloc((size_t)(jobs * c + 1) * sizeof(double));
    if (!part) return 1;
#pragma omp parallel for schedule(static) num_threads(enough(n * c * p, threads))
    for (len job = 0; job < jobs; job++) {
        tile at = tile_of(job, p);
        float amax[TILE], by_amax[TILE], by_mean[TILE];
        stats_shares(at, dstats, stats, ties, c, p, amax, by_amax, by_mean);
        for (len k = 0; k < c; k++) {
            len r = at.image * c + k;
            const ELEM *row = x + r * p + at.from;
            float channel_gate = ROUND(channel[r]), lane_sum[LANES] = {0};
            IN_LANES(0, at.size, {
                float v = UP(row[i]), both = by_mean[i] + by_amax[i];
                lane_sum[j] += v * (ROUND(v * channel_gate) == amax[i] ? both : by_mean[i]);
            });
            part[job * c + k] = sum_of_lanes(lane_sum);
        }
    }
    join(part, n, tiles(p), c, dchannel);
    free(part);
    return 0;
}

/* dx = (dy * spatial + by the statistics) * channel + by the pooling. All but x and dx may be absent. */
int NAME(map_backward)(const ELEM *dy, const ELEM *x, const float *channel, const float *spatial,
                       const float *davg, const float *damax, const float *amax, const float *ties,
                       const float *dstats, const float *stats, const float *stats_ties, len n, len c, len p,
                       ELEM *dx, int threads) {
    len jobs = n * tiles(p);
#pragma omp parallel for schedule(static) num_threads(enough(n * c * p, threads))
    for (len job = 0; job < jobs; job++) {
        tile at = tile_of(job, p);
        len first = at.image * p + at.from;
        float spatial_gate[TILE], stats_amax[TILE], by_stats_amax[TILE], by_mean[TILE];
        for (len i = 0; i < at.size; i++) spatial_gate[i] = spatial ? ROUND(spatial[first + i]) : 1.f;
        if (stats) stats_shares(at, dstats, stats, stats_ties, c, p, stats_amax, by_stats_amax, by_mean);
        for (len k = 0; k < c; k++) {
            len r = at.image * c + k, start = r * p + at.from;
            const ELEM *row = x + start, *dy_row = dy ? dy + start : NULL;
            ELEM *out = dx + start;
            float channel_gate = channel ? ROUND(channel[r]) : 1.f, by_avg = davg ? davg[r] / (float)p : 0;
            float row_amax = amax ? amax[r] : 0, by_amax = damax ? damax[r] / ties[r] : 0;
            if (stats && dy_row && damax)
                for (len i = 0; i < at.size; i++) {
                    float v = UP(row[i]), d = UP(dy_row[i]) * spatial_gate[i] + by_mean[i];
                    d += ROUND(v * channel_gate) == stats_amax[i] ? by_stats_amax[i] : 0;
                    out[i] = DOWN(d * channel_gate + by_avg + (v == row_amax ? by_amax : 0));
                }
            else if (stats)
                for (len i = 0; i < at.size; i++) {
                    float v = UP(row[i]), d = (dy_row ? UP(dy_row[i]) : 0) * spatial_gate[i] + by_mean[i];
                    d += ROUND(v * channel_gate) == stats_amax[i] ? by_stats_amax[i] : 0;
                    out[i] = DOWN(d * channel_gate + by_avg + (damax && v == row_amax ? by_amax : 0));
                }
            else
                for (len i = 0; i < at.size; i++) {
                    float d = (dy_row ? UP(dy_row[i]) : 0) * spatial_gate[i] * channel_gate + by_avg;
                    out[i] = DOWN(damax ? d + (UP(row[i]) == row_amax ? by_amax : 0) : d);
                }
        }
    }
    return 0;
}
