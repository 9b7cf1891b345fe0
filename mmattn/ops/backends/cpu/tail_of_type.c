/* The tail of a residual block, out = relu(v * channel * spatial + identity), where v is what a norm in eval
   mode makes of z, and is never written. affine (4, c) has the norm's scale, shift, mean and
   1 / sqrt(var + eps); it is absent for a norm that was folded into its convolution: v is then z. Included by
   kernels.c after kernels_of_type.c, whose functions take affine too. */

/* affine, with scale and shift as ATen computes them. */
int NAME(norm_affine)(const float *weight, const float *bias, const float *mean, const float *var, double eps,
                      len c, float *affine, int threads) {
    float *scale = affine, *shift = affine + c, *inv_std = affine + 3 * c;
    (void)threads;
    memcpy(affine + 2 * c, mean, c * sizeof(float));
    for (len k = 0; k < c; k++) {
        inv_std[k] = 1.f / sqrtf(var[k] + (float)eps);
        scale[k] = inv_std[k] * (weight ? weight[k] : 1.f);
        shift[k] = (bias ? bias[k] : 0.f) - mean[k] * scale[k];
    }
    return 0;
}

/* A vector of it. -0 and what is not a number stay, as in PyTorch. */
INLINE vec NAME(tail_vector)(const int has_norm, const int has_channel, const int has_spatial, vec z,
                             vec identity, vec scale_of, vec shift_of, vec gate, vec spatial) {
    const vec scale[1] = {scale_of}, shift[1] = {shift_of};
    vec v = NORMED(z, 0);
    if (has_channel) v = ROUND(v * gate);
    if (has_spatial) v = ROUND(v * spatial);
    v = ROUND(v + identity);
    mask is_below = v < splat(0);
    return SELECT(is_below, splat(0), v);
}

/* A row of it; out may be z, so that no element is read twice. */
INLINE void NAME(tail_row)(const int has_norm, const int has_channel, const int has_spatial, const ELEM *z,
                           const ELEM *identity, const float *affine, const float *channel,
                           const float *spatial, len r, len c, len p, ELEM *out) {
    vec scale, shift, gate = splat(has_channel ? ROUND_ONE(channel[r]) : 1), s = splat(1);
    NAME(norm_of)(1, has_norm ? affine : NULL, r, c, &scale, &shift);
    len i = 0, rest = p % LANES;
    for (; i + LANES <= p; i += LANES) {
        if (has_spatial) s = ROUND(load(spatial + i));
        DOWN(out + i, NAME(tail_vector)(has_norm, has_channel, has_spatial, UP(z + i), UP(identity + i),
                                        scale, shift, gate, s));
    }
    if (rest) {
        ELEM z_pad[LANES] = {0}, identity_pad[LANES] = {0};
        float spatial_pad[LANES] = {0};
        memcpy(z_pad, z + i, rest * sizeof(ELEM));
        memcpy(identity_pad, identity + i, rest * sizeof(ELEM));
        if (has_spatial) memcpy(spatial_pad, spatial + i, rest * sizeof(float)), s = ROUND(load(spatial_pad));
        DOWN(z_pad, NAME(tail_vector)(has_norm, has_channel, has_spatial, UP(z_pad), UP(identity_pad), scale,
                                      shift, gate, s));
        memcpy(out + i, z_pad, rest * sizeof(ELEM));
    }
}

/* z, identity, out (n, c, p); channel (n, c), spatial (n, p), each of which may be absent. */
int NAME(tail)(const ELEM *z, const float *affine, const float *channel, const float *spatial,
               const ELEM *identity, len n, len c, len p, ELEM *out, int threads) {
    len jobs = (n * c + ROWS - 1) / ROWS;
    if (out != z) use_large_pages(out, n * c * p * sizeof(ELEM));
#pragma omp parallel for schedule(static) num_threads(workers(n * c * p, jobs, threads))
    for (len job = 0; job < jobs; job++)
        for (len r = job * ROWS; r < min(job * ROWS + ROWS, n * c); r++) {
            const float *gates = spatial ? spatial + r / c * p : NULL;
#define TAIL(has_norm, has_channel, has_spatial)                                                          \
    NAME(tail_row)(has_norm, has_channel, has_spatial, z + r * p, identity + r * p, affine, channel, gates, \
                   r, c, p, out + r * p)
            if (affine && channel && !spatial)
                TAIL(1, 1, 0);
            else if (affine && channel)
                TAIL(1, 1, 1);
            else if (affine && !spatial)
                TAIL(1, 0, 0);
            else if (affine)
                TAIL(1, 0, 1);
            else
                TAIL(0, channel != NULL, spatial != NULL);
#undef TAIL
        }
    return 0;
}

/* A row of d; sums over p: of d, of d * (z - mean), and dchannel of d * v, which follows from both. */
INLINE void NAME(tail_backward_row)(const int has_norm, const int has_d, const ELEM *dout, const ELEM *out,
                                    const ELEM *z, const float *affine, len r, len c, len p, ELEM *d,
                                    float *dchannel, float *d_sum, float *dz_sum) {
    const vec zero = splat(0), mean = splat(has_norm ? affine[2 * c + r % c] : 0);
    ELEM dout_pad[1][LANES], out_pad[1][LANES], pad[1][LANES], d_pad[1][LANES], *to = NULL;
    double of_d = 0, of_dz = 0;
    const ELEM *restrict given, *restrict made, *restrict row;
    NAME(point)(1, dout + r * p, p, p, dout_pad, (const ELEM **)&given);
    NAME(point)(1, out + r * p, p, p, out_pad, (const ELEM **)&made);
    NAME(point)(1, z + r * p, p, p, pad, (const ELEM **)&row);
    if (has_d) NAME(point_out)(1, d + r * p, p, p, d_pad, &to);
    for (len part = 0; part < flushes(p); part++) {
        len from = flush_from(part, p), size = flush_from(part + 1, p) - from;
        len whole = size / (4 * LANES) * 4 * LANES;
        vec sum[4] = {zero, zero, zero, zero}, dz[4] = {zero, zero, zero, zero};
#define STEP(at, j, on)                                              \
    do {                                                             \
        vec g = UP(given + (at)), o = UP(made + (at));               \
        mask is_on = o > zero;                                       \
        g = SELECT(is_on, g, zero);                                  \
        if (has_d) DOWN(to + (at), g);                               \
        g = SELECT(on, g, zero);                                     \
        if (has_norm) sum[j] += g;                                   \
        dz[j] += g * (UP(row + (at)) - mean);                        \
    } while (0)
        for (len first = 0; first < whole; first += 4 * LANES)
            for (int j = 0; j < 4; j++) STEP(from + first + j * LANES, j, (mask){0} - 1);
        len i = whole;
        for (; i + LANES <= size; i += LANES) STEP(from + i, 0, (mask){0} - 1);
        if (i < size) { /* as EACH_VECTOR does it */
            len last = size < LANES ? 0 : size - LANES;
            const mask on = lanes((int)(i - last), (int)(size - last));
            STEP(from + last, 0, on);
        }
#undef STEP
        of_d += sum_of_lanes((sum[0] + sum[1]) + (sum[2] + sum[3]));
        of_dz += sum_of_lanes((dz[0] + dz[1]) + (dz[2] + dz[3]));
    }
    if (has_d) NAME(unpad)(1, d + r * p, p, p, d_pad);
    if (d_sum) d_sum[r] = (float)of_d, dz_sum[r] = (float)of_dz;
    if (!dchannel) return;
    double a = has_norm ? affine[r % c] : 1, b = has_norm ? affine[c + r % c] + a * affine[2 * c + r % c] : 0;
    dchannel[r] = (float)(a * of_dz + b * of_d);
}

/* The same of a piece, with a spatial gate (size): sums over p of d * v * spatial, and over c of
   d * v * channel. */
INLINE void NAME(tail_backward_piece_rows)(const int rows, const int has_norm, const int has_d,
                                           const ELEM *dout, const ELEM *out, const ELEM *z,
                                           const float *affine, const float *channel, const float *spatial,
                                           len r, len c, len p, len size, ELEM *d, float *dchannel,
                                           float *dspatial) {
    const vec zero = splat(0);
    ELEM dout_pad[ROWS][LANES], out_pad[ROWS][LANES], pad[ROWS][LANES], d_pad[ROWS][LANES], *d_row[ROWS];
    const ELEM *dout_row[ROWS], *out_row[ROWS], *row[ROWS];
    vec scale[ROWS], shift[ROWS], gate[ROWS], part[ROWS];
    NAME(point)(rows, dout, p, size, dout_pad, dout_row);
    NAME(point)(rows, out, p, size, out_pad, out_row);
    NAME(point)(rows, z, p, size, pad, row);
    if (has_d) NAME(point_out)(rows, d, p, size, d_pad, d_row);
    NAME(norm_of)(rows, has_norm ? affine : NULL, r, c, scale, shift);
    for (int k = 0; k < rows; k++) gate[k] = splat(channel ? ROUND_ONE(channel[r + k]) : 1), part[k] = zero;
    EACH_VECTOR(size, {
        vec sum = load(dspatial + i), s = load(spatial + i);
        for (int k = 0; k < rows; k++) {
            vec o = UP(out_row[k] + i), u = UP(row[k] + i), g = UP(dout_row[k] + i);
            mask is_on = o > zero;
            g = SELECT(is_on, g, zero);
            if (has_d) DOWN(d_row[k] + i, g);
            vec v = SELECT(on, g, zero) * NORMED(u, k);
            part[k] += v * s;
            sum += v * gate[k];
        }
        store(dspatial + i, sum);
    });
    if (has_d) NAME(unpad)(rows, d, p, size, d_pad);
    for (int k = 0; k < rows; k++) dchannel[k] = sum_of_lanes(part[k]);
}

INLINE void NAME(tail_backward_piece)(const int has_norm, const int has_d, const ELEM *dout, const ELEM *out,
                                      const ELEM *z, const float *affine, const float *channel,
                                      const float *spatial, piece at, len c, len p, ELEM *d, float *dchannel,
                                      float *dspatial) {
    len k = at.first, r = at.image * c;
    dout += at.from, out += at.from, z += at.from;
    if (has_d) d += at.from;
    for (; k + ROWS <= at.last; k += ROWS) {
        len row = (r + k) * p;
        NAME(tail_backward_piece_rows)(ROWS, has_norm, has_d, dout + row, out + row, z + row, affine, channel,
                                       spatial, r + k, c, p, at.size, has_d ? d + row : NULL, dchannel + k,
                                       dspatial);
    }
    for (; k < at.last; k++) {
        len row = (r + k) * p;
        NAME(tail_backward_piece_rows)(1, has_norm, has_d, dout + row, out + row, z + row, affine, channel,
                                       spatial, r + k, c, p, at.size, has_d ? d + row : NULL, dchannel + k,
                                       dspatial);
    }
}

/* d = dout where out > 0 (n, c, p): the gradient of identity, and of v * channel * spatial. dchannel (n, c) =
   sum over p of d * v * spatial; dspatial (n, p) = sum over c of d * v * channel; sums (2, n, c), without a
   spatial gate: over p, of d and of d * (z - mean). What is absent is not wanted. */
int NAME(tail_backward)(const ELEM *dout, const ELEM *out, const ELEM *z, const float *affine,
                        const float *channel, const float *spatial, len n, len c, len p, ELEM *d,
                        float *dchannel, float *dspatial, float *sums, int threads) {
    if (d) use_large_pages(d, n * c * p * sizeof(ELEM));
    if (!spatial) {
        len jobs = (n * c + ROWS - 1) / ROWS;
        float *dz_sums = sums ? sums + n * c : NULL;
#pragma omp parallel for schedule(static) num_threads(workers(n * c * p, jobs, threads))
        for (len job = 0; job < jobs; job++)
            for (len r = job * ROWS; r < min(job * ROWS + ROWS, n * c); r++)
                if (affine && d)
                    NAME(tail_backward_row)(1, 1, dout, out, z, affine, r, c, p, d, dchannel, sums, dz_sums);
                else
                    NAME(tail_backward_row)(affine != NULL, d != NULL, dout, out, z, affine, r, c, p, d,
                                            dchannel, sums, dz_sums);
        return 0;
    }
    cut by = cut_map(n, c, p);
    float *of_channel = malloc((size_t)(n * by.tiles * c + n * by.groups * p) * sizeof(float));
    if (!of_channel) return 1;
    float *of_spatial = of_channel + n * by.tiles * c;
#pragma omp parallel for schedule(static) num_threads(workers(n * c * p, by.jobs, threads))
    for (len job = 0; job < by.jobs; job++) {
        piece at = piece_of(job, by, c, p);
        float sum[TILE + LANES] = {0}, gates[TILE + LANES] = {0}, *to = of_channel + at.part * c;
        for (len i = 0; i < at.size; i++) gates[i] = ROUND_ONE(spatial[at.image * p + at.from + i]);
        if (affine && d)
            NAME(tail_backward_piece)(1, 1, dout, out, z, affine, channel, gates, at, c, p, d, to, sum);
        else
            NAME(tail_backward_piece)(affine != NULL, d != NULL, dout, out, z, affine, channel, gates, at,
                                      c, p, d, to, sum);
        memcpy(of_spatial + (at.image * by.groups + at.group) * p + at.from, sum, at.size * sizeof(float));
    }
    if (dchannel) join(of_channel, n, by.tiles, c, dchannel);
    if (dspatial) join(of_spatial, n, by.groups, p, dspatial);
    free(of_channel);
    return 0;
}
