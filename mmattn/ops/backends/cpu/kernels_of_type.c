/* The functions for maps of ELEM: UP(e) is its value as a float, DOWN(f) the nearest element, ROUND(f) what becomes
   of a float that is kept as an element. Included by kernels.c, once for each type. */

/* x (rows, p) -> sum / p, amax, ties (rows), the latter two only if amax is given. */
void NAME(pool)(const ELEM *x, len rows, len p, float *avg, float *amax, float *ties, int threads) {
#pragma omp parallel for schedule(static) num_threads(enough(rows * p, threads))
    for (len r = 0; r < rows; r++) {
        const ELEM *row = x + r * p;
        float top[LANES], times[LANES];
        double sum = 0;
        for (int k = 0; k < LANES; k++) top[k] = -INFINITY, times[k] = 0;
        for (len from = 0; from < p; from += TILE) {
            len to = from + TILE < p ? from + TILE : p, whole = from + (to - from) / LANES * LANES;
            float s[LANES] = {0};
            for (len i = from; i < whole; i += LANES)
                for (int k = 0; k < LANES; k++) s[k] += UP(row[i + k]);
            for (len i = whole; i < to; i++) s[i - whole] += UP(row[i]);
            sum += lanes_sum(s);
            if (!amax) continue;
            for (len i = from; i < whole; i += LANES)
                for (int k = 0; k < LANES; k++) {
                    float v = UP(row[i + k]);
                    int higher = (v > top[k]) | (v != v);
                    times[k] = higher ? 1.f : times[k] + (v == top[k]);
                    top[k] = higher ? v : top[k];
                }
            for (len i = whole; i < to; i++) {
                float v = UP(row[i]);
                int k = (int)(i - whole), higher = (v > top[k]) | (v != v);
                times[k] = higher ? 1.f : times[k] + (v == top[k]);
                top[k] = higher ? v : top[k];
            }
        }
        avg[r] = (float)(sum / (double)p);
        if (!amax) continue;
        float m = top[0], n = 0;
        for (int k = 1; k < LANES; k++) m = (top[k] > m) | (top[k] != top[k]) ? top[k] : m;
        for (int k = 0; k < LANES; k++) n += top[k] == m ? times[k] : 0;
        amax[r] = m;
        ties[r] = n;
    }
}

/* x (n, c, p), g (n, c) or none -> stats (n, 2, p): amax over c of x * g and its mean; ties (n, p). */
void NAME(stats)(const ELEM *x, const float *g, len n, len c, len p, float *stats, float *ties,
                  int threads) {
    len t = tiles(p);
#pragma omp parallel for schedule(static) num_threads(enough(n * c * p, threads))
    for (len job = 0; job < n * t; job++) {
        len b = job / t, from = job % t * TILE, size = p - from < TILE ? p - from : TILE;
        float top[TILE], times[TILE], part[TILE], sum[TILE];
        for (len i = 0; i < size; i++) top[i] = -INFINITY, times[i] = 0, part[i] = 0, sum[i] = 0;
        for (len k = 0; k < c; k++) {
            const ELEM *row = x + (b * c + k) * p + from;
            float gate = g ? ROUND(g[b * c + k]) : 1.f;
            for (len i = 0; i < size; i++) {
                float v = ROUND(UP(row[i]) * gate);
                int higher = (v > top[i]) | (v != v);
                part[i] += v;
                times[i] = higher ? 1.f : times[i] + (v == top[i]);
                top[i] = higher ? v : top[i];
            }
            if (k % FLUSH == FLUSH - 1 || k == c - 1)
                for (len i = 0; i < size; i++) sum[i] += part[i], part[i] = 0;
        }
        float *amax = stats + 2 * b * p + from, *mean = amax + p, *shared = ties + b * p + from;
        for (len i = 0; i < size; i++) amax[i] = top[i], mean[i] = sum[i] / (float)c, shared[i] = times[i];
    }
}

/* y = (x * g) * s, where each may be absent: in this order, as two multiplications of PyTorch's do it. */
void NAME(apply_gates)(const ELEM *x, const float *g, const float *s, len n, len c, len p, ELEM *y, int threads) {
#pragma omp parallel for schedule(static) num_threads(enough(n * c * p, threads))
    for (len r = 0; r < n * c; r++) {
        const ELEM *row = x + r * p;
        const float *gates = s ? s + r / c * p : NULL;
        ELEM *out = y + r * p;
        float gate = g ? ROUND(g[r]) : 1.f;
        if (gates) for (len i = 0; i < p; i++) out[i] = DOWN(ROUND(UP(row[i]) * gate) * ROUND(gates[i]));
        else for (len i = 0; i < p; i++) out[i] = DOWN(UP(row[i]) * gate);
    }
}

/* dy, x (n, c, p) -> dg (n, c) = sum over p of dy * x * s; ds (n, p) = sum over c of dy * x * g.
   Either may be unwanted. Returns nonzero if there is no memory. */
int NAME(gates_backward)(const ELEM *dy, const ELEM *x, const float *g, const float *s, len n, len c,
                         len p, float *dg, float *ds, int threads) {
    len t = tiles(p);
    double *part = malloc((size_t)(n * t * c + 1) * sizeof(double));
    if (!part) return 1;
#pragma omp parallel for schedule(static) num_threads(enough(n * c * p, threads))
    for (len job = 0; job < n * t; job++) {
        len b = job / t, from = job % t * TILE, size = p - from < TILE ? p - from : TILE;
        len whole = size / LANES * LANES;
        float sum[TILE], gates[TILE];
        for (len i = 0; i < size; i++) sum[i] = 0, gates[i] = s ? ROUND(s[b * p + from + i]) : 1.f;
        for (len k = 0; k < c; k++) {
            const ELEM *a = dy + (b * c + k) * p + from, *row = x + (b * c + k) * p + from;
            float gate = g ? ROUND(g[b * c + k]) : 1.f, lane[LANES] = {0};
            for (len i = 0; i < whole; i += LANES)
                for (int j = 0; j < LANES; j++) {
                    float v = UP(a[i + j]) * UP(row[i + j]);
                    lane[j] += v * gates[i + j];
                    sum[i + j] += v * gate;
                }
            for (len i = whole; i < size; i++) {
                float v = UP(a[i]) * UP(row[i]);
                lane[i - whole] += v * gates[i];
                sum[i] += v * gate;
            }
            part[job * c + k] = lanes_sum(lane);
        }
        if (ds) for (len i = 0; i < size; i++) ds[b * p + from + i] = sum[i];
    }
    if (dg) join(part, n, t, c, dg);
    free(part);
    return 0;
}

/* dg (n, c): the share of the statistics of x * g, whose gradients are dstats (n, 2, p). */
int NAME(stats_backward)(const ELEM *x, const float *g, const float *dstats, const float *stats,
                          const float *ties, len n, len c, len p, float *dg, int threads) {
    len t = tiles(p);
    double *part = malloc((size_t)(n * t * c + 1) * sizeof(double));
    if (!part) return 1;
#pragma omp parallel for schedule(static) num_threads(enough(n * c * p, threads))
    for (len job = 0; job < n * t; job++) {
        len b = job / t, from = job % t * TILE, size = p - from < TILE ? p - from : TILE;
        len whole = size / LANES * LANES;
        float all[TILE], top[TILE], amax[TILE];
        for (len i = 0; i < size; i++) {
            amax[i] = stats[2 * b * p + from + i];
            top[i] = dstats[2 * b * p + from + i] / ties[b * p + from + i];
            all[i] = dstats[(2 * b + 1) * p + from + i] / (float)c;
        }
        for (len k = 0; k < c; k++) {
            const ELEM *row = x + (b * c + k) * p + from;
            float gate = ROUND(g[b * c + k]), lane[LANES] = {0};
            for (len i = 0; i < whole; i += LANES)
                for (int j = 0; j < LANES; j++) {
                    float v = UP(row[i + j]);
                    lane[j] += v * (ROUND(v * gate) == amax[i + j] ? all[i + j] + top[i + j] : all[i + j]);
                }
            for (len i = whole; i < size; i++) {
                float v = UP(row[i]);
                lane[i - whole] += v * (ROUND(v * gate) == amax[i] ? all[i] + top[i] : all[i]);
            }
            part[job * c + k] = lanes_sum(lane);
        }
    }
    join(part, n, t, c, dg);
    free(part);
    return 0;
}

/* dx = (dy * s + of the channel statistics) * g + of the spatial ones. All but x and dx may be absent. */
void NAME(map_backward)(const ELEM *dy, const ELEM *x, const float *g, const float *s,
                         const float *davg, const float *damax, const float *amax, const float *ties,
                         const float *dstats, const float *stats, const float *stats_ties, len n, len c, len p,
                         ELEM *dx, int threads) {
    len t = tiles(p);
#pragma omp parallel for schedule(static) num_threads(enough(n * c * p, threads))
    for (len job = 0; job < n * t; job++) {
        len b = job / t, from = job % t * TILE, size = p - from < TILE ? p - from : TILE;
        float gates[TILE], all[TILE], top[TILE], m[TILE];
        for (len i = 0; i < size; i++) {
            gates[i] = s ? ROUND(s[b * p + from + i]) : 1.f;
            m[i] = stats ? stats[2 * b * p + from + i] : 0;
            top[i] = stats ? dstats[2 * b * p + from + i] / stats_ties[b * p + from + i] : 0;
            all[i] = stats ? dstats[(2 * b + 1) * p + from + i] / (float)c : 0;
        }
        for (len k = 0; k < c; k++) {
            len r = b * c + k, at = r * p + from;
            const ELEM *row = x + at, *a = dy ? dy + at : NULL;
            ELEM *out = dx + at;
            float gate = g ? ROUND(g[r]) : 1.f, shift = davg ? davg[r] / (float)p : 0;
            float highest = amax ? amax[r] : 0, rise = damax ? damax[r] / ties[r] : 0;
            if (stats && a && damax)
                for (len i = 0; i < size; i++) {
                    float v = UP(row[i]), d = UP(a[i]) * gates[i] + all[i];
                    d += ROUND(v * gate) == m[i] ? top[i] : 0;
                    out[i] = DOWN(d * gate + shift + (v == highest ? rise : 0));
                }
            else if (stats)
                for (len i = 0; i < size; i++) {
                    float v = UP(row[i]), d = (a ? UP(a[i]) : 0) * gates[i] + all[i];
                    d += ROUND(v * gate) == m[i] ? top[i] : 0;
                    out[i] = DOWN(d * gate + shift + (damax && v == highest ? rise : 0));
                }
            else if (damax)
                for (len i = 0; i < size; i++)
                    out[i] = DOWN((a ? UP(a[i]) : 0) * gates[i] * gate + shift + (UP(row[i]) == highest ? rise : 0));
            else
                for (len i = 0; i < size; i++) out[i] = DOWN((a ? UP(a[i]) : 0) * gates[i] * gate + shift);
        }
    }
}
