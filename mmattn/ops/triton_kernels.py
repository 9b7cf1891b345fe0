"""The kernels of triton_passes.py.

A map is read in tiles of ``BC`` channels and ``BP`` positions; whether it is ``DENSE``, NCHW, or channels_last
makes the difference of an address alone. ``C`` and ``P`` come as multiples of ``AC`` and ``AP``, powers of two
up to 16: from that the compiler knows how many elements it may read in one instruction. Whatever is summed is summed in ``ACC``, fp32 or fp64, in
an order that the sizes decide: no atomics. ``v`` is always ``x * g`` in the map's own dtype, so that a kernel
that looks for a maximum again finds the very number that another one found.
"""

# ruff: noqa: N803, N806
from __future__ import annotations

import triton
import triton.language as tl

# A variant of a kernel for each kind of number (1, a multiple of 16, others) would be compiled in the midst of a
# training on pictures of many sizes. What the compiler has to know is in AC and AP.
_SIZES = ['c_units', 'p_units', 'along_c', 'along_p', 'splits', 'span', 'row', 'count_row', 'divisor', 'L']


@triton.jit
def _at(c, p, C, P, DENSE: tl.constexpr):
    """Where elements lie in a picture: 64 bits, since one may have more than 2^31 of them."""
    if DENSE:
        at = c.to(tl.int64)[:, None] * P + p[None, :]
    else:
        at = p.to(tl.int64)[None, :] * C + c[:, None]
    return at


@triton.jit
def _look(v, here, total, top, count, ACC: tl.constexpr):
    """Take values ``v`` into running sums, maxima (NaN is the highest) and numbers of maxima."""
    higher = ((v > top) | (v != v)) & here
    count = tl.where(higher, 1.0, count + ((v == top) & here).to(ACC))
    top = tl.where(higher, v, top)
    return total + tl.where(here, v, 0.0), top, count


@triton.jit
def _peak(top, count, axis: tl.constexpr):
    """The maximum along an axis, and how often it is there."""
    wrong = tl.max((top != top).to(tl.int32), axis)
    m = tl.max(tl.where(top != top, float('-inf'), top), axis)
    n = tl.sum(tl.where(top == tl.expand_dims(m, axis), count, 0.0), axis)
    return tl.where(wrong > 0, float('nan'), m), n


@triton.jit(do_not_specialize=_SIZES)
def look(
    x,
    g,
    total,
    top,
    count,
    c_units,
    p_units,
    along_c,
    along_p,
    splits,
    span,
    row,
    count_row,
    divisor,
    GATED: tl.constexpr,
    PEAKS: tl.constexpr,
    OF_CHANNELS: tl.constexpr,
    BC: tl.constexpr,
    BP: tl.constexpr,
    DENSE: tl.constexpr,
    AC: tl.constexpr,
    AP: tl.constexpr,
    ACC: tl.constexpr,
):
    """Sums, maxima and numbers of maxima of ``x * g``, of each channel or of each position.

    Program ``(n * tiles + tile, split)`` walks over ``span`` tiles of positions (channels) and writes entry ``split`` of
    ``(N, splits, C)`` (``(N, splits, P)``), rows of which are ``row`` numbers from each other, or ``count_row``.
    """
    C = c_units * AC
    P = p_units * AP
    tiles = along_c * along_p
    n = (tl.program_id(0) // tiles).to(tl.int64)
    tile = tl.program_id(0) % tiles
    split = tl.program_id(1)
    x += n * C * P
    sums = tl.zeros((BC, BP), ACC)
    tops = tl.full((BC, BP), float('-inf'), ACC)
    counts = tl.zeros((BC, BP), ACC)
    if OF_CHANNELS:
        c = tile * BC + tl.arange(0, BC)
        for step in range(split * span, tl.minimum(tl.cdiv(P, BP), (split + 1) * span)):
            p = step * BP + tl.arange(0, BP)
            here = (c < C)[:, None] & (p < P)[None, :]
            v = tl.load(x + _at(c, p, C, P, DENSE), here, other=0.0).to(ACC)
            if PEAKS:
                sums, tops, counts = _look(v, here, sums, tops, counts, ACC)
            else:
                sums += v
        out = c
        there = c < C
    else:
        p = tile * BP + tl.arange(0, BP)
        for step in range(split * span, tl.minimum(tl.cdiv(C, BC), (split + 1) * span)):
            c = step * BC + tl.arange(0, BC)
            here = (c < C)[:, None] & (p < P)[None, :]
            v = tl.load(x + _at(c, p, C, P, DENSE), here, other=0.0)
            if GATED:
                gates = tl.load(g + n * C + c, c < C, other=0.0).to(v.dtype)
                v = (v.to(ACC) * gates.to(ACC)[:, None]).to(v.dtype)
            sums, tops, counts = _look(v.to(ACC), here, sums, tops, counts, ACC)
        out = p
        there = p < P
    at = (n * splits + split) * row + out
    tl.store(total + at, tl.sum(sums, 1 if OF_CHANNELS else 0) / divisor, there)
    if PEAKS:
        m, times = _peak(tops, counts, 1 if OF_CHANNELS else 0)
        tl.store(top + at, m, there)
        tl.store(count + (n * splits + split) * count_row + out, times, there)


@triton.jit(do_not_specialize=_SIZES)
def join(
    total,
    top,
    count,
    total_out,
    top_out,
    count_out,
    L,
    splits,
    row,
    count_row,
    divisor,
    PEAKS: tl.constexpr,
    B: tl.constexpr,
    ACC: tl.constexpr,
):
    """What the splits found, ``(N, splits, L)``, together: rows of ``L``, ``row`` numbers from each other, or ``count_row``."""
    blocks = tl.cdiv(L, B)
    n = (tl.program_id(0) // blocks).to(tl.int64)
    i = tl.program_id(0) % blocks * B + tl.arange(0, B)
    there = i < L
    sums = tl.zeros((B,), ACC)
    tops = tl.full((B,), float('-inf'), ACC)
    counts = tl.zeros((B,), ACC)
    for split in range(splits):
        at = (n * splits + split) * L + i
        sums += tl.load(total + at, there, other=0.0)
        if PEAKS:
            m = tl.load(top + at, there, other=0.0)
            times = tl.load(count + at, there, other=0.0)
            higher = (m > tops) | (m != m)
            counts = tl.where(higher, times, tl.where(m == tops, counts + times, counts))
            tops = tl.where(higher, m, tops)
    tl.store(total_out + n * row + i, sums / divisor, there)
    if PEAKS:
        tl.store(top_out + n * row + i, tops, there)
        tl.store(count_out + n * count_row + i, counts, there)


@triton.jit(do_not_specialize=_SIZES)
def gate(
    x,
    g,
    s,
    y,
    c_units,
    p_units,
    along_c,
    along_p,
    GATED: tl.constexpr,
    SPATIAL: tl.constexpr,
    BC: tl.constexpr,
    BP: tl.constexpr,
    DENSE: tl.constexpr,
    AC: tl.constexpr,
    AP: tl.constexpr,
    ACC: tl.constexpr,
):
    """``y = (x * g) * s``, each product rounded to the map's dtype."""
    C = c_units * AC
    P = p_units * AP
    tiles = along_c * along_p
    n = (tl.program_id(0) // tiles).to(tl.int64)
    tile = tl.program_id(0) % tiles
    c = tile // along_p * BC + tl.arange(0, BC)
    p = tile % along_p * BP + tl.arange(0, BP)
    here = (c < C)[:, None] & (p < P)[None, :]
    at = n * C * P + _at(c, p, C, P, DENSE)
    v = tl.load(x + at, here, other=0.0)
    if GATED:
        gates = tl.load(g + n * C + c, c < C, other=0.0).to(v.dtype)
        v = (v.to(ACC) * gates.to(ACC)[:, None]).to(v.dtype)
    if SPATIAL:
        gates = tl.load(s + n * P + p, p < P, other=0.0).to(v.dtype)
        v = (v.to(ACC) * gates.to(ACC)[None, :]).to(v.dtype)
    tl.store(y + at, v, here)


@triton.jit(do_not_specialize=_SIZES)
def gate_backward(
    dy,
    x,
    g,
    s,
    dg,
    ds,
    c_units,
    p_units,
    along_p,
    splits,
    span,
    GATED: tl.constexpr,
    SPATIAL: tl.constexpr,
    BC: tl.constexpr,
    BP: tl.constexpr,
    DENSE: tl.constexpr,
    AC: tl.constexpr,
    AP: tl.constexpr,
    ACC: tl.constexpr,
):
    """Gradients of the gates: ``dg (N, along_p, C)`` of each tile of positions, ``ds (N, splits, P)``.

    Program ``(n * along_p + tile, split)`` walks over ``span`` tiles of channels.
    """
    C = c_units * AC
    P = p_units * AP
    n = (tl.program_id(0) // along_p).to(tl.int64)
    tile = tl.program_id(0) % along_p
    split = tl.program_id(1)
    p = tile * BP + tl.arange(0, BP)
    x += n * C * P
    dy += n * C * P
    sums = tl.zeros((BC, BP), ACC)
    if SPATIAL:
        spatial = tl.load(s + n * P + p, p < P, other=0.0).to(x.dtype.element_ty).to(ACC)
    for step in range(split * span, tl.minimum(tl.cdiv(C, BC), (split + 1) * span)):
        c = step * BC + tl.arange(0, BC)
        here = (c < C)[:, None] & (p < P)[None, :]
        at = _at(c, p, C, P, DENSE)
        d = tl.load(dy + at, here, other=0.0).to(ACC) * tl.load(x + at, here, other=0.0).to(ACC)
        if SPATIAL:
            if GATED:
                channel = tl.load(g + n * C + c, c < C, other=0.0).to(x.dtype.element_ty).to(ACC)
                sums += d * channel[:, None]
            else:
                sums += d
        if GATED:
            if SPATIAL:
                d *= spatial[None, :]
            tl.store(dg + (n * along_p + tile) * C + c, tl.sum(d, 1), c < C)
    if SPATIAL:
        tl.store(ds + (n * splits + split) * P + p, tl.sum(sums, 0), p < P)


@triton.jit
def _statistics(dstats, stats, count, n, p, C, P, ACC: tl.constexpr):
    """At positions: the gradient of a value, what a maximum gets besides, and the maximum."""
    there = p < P
    m = tl.load(stats + n * 2 * P + p, there, other=0.0)
    times = tl.load(count + n * P + p, there, other=1.0)
    rise = tl.load(dstats + n * 2 * P + p, there, other=0.0).to(ACC) / times
    all_ = tl.load(dstats + n * 2 * P + P + p, there, other=0.0).to(ACC) / C
    return all_, rise, m


@triton.jit(do_not_specialize=_SIZES)
def stats_backward(
    x,
    g,
    dstats,
    stats,
    count,
    dg,
    c_units,
    p_units,
    along_c,
    splits,
    span,
    BC: tl.constexpr,
    BP: tl.constexpr,
    DENSE: tl.constexpr,
    AC: tl.constexpr,
    AP: tl.constexpr,
    ACC: tl.constexpr,
):
    """Gradient of ``g`` by way of the statistics, ``(N, splits, C)``; a program walks over ``span``
    tiles of positions."""
    C = c_units * AC
    P = p_units * AP
    n = (tl.program_id(0) // along_c).to(tl.int64)
    c = tl.program_id(0) % along_c * BC + tl.arange(0, BC)
    split = tl.program_id(1)
    x += n * C * P
    gates = tl.load(g + n * C + c, c < C, other=0.0).to(x.dtype.element_ty).to(ACC)
    sums = tl.zeros((BC, BP), ACC)
    for step in range(split * span, tl.minimum(tl.cdiv(P, BP), (split + 1) * span)):
        p = step * BP + tl.arange(0, BP)
        here = (c < C)[:, None] & (p < P)[None, :]
        of_x = tl.load(x + _at(c, p, C, P, DENSE), here, other=0.0)
        v = (of_x.to(ACC) * gates[:, None]).to(of_x.dtype).to(ACC)
        all_, rise, m = _statistics(dstats, stats, count, n, p, C, P, ACC)
        sums += of_x.to(ACC) * (all_[None, :] + tl.where(v == m[None, :], rise[None, :], 0.0))
    tl.store(dg + (n * splits + split) * C + c, tl.sum(sums, 1), c < C)


@triton.jit(do_not_specialize=_SIZES)
def map_backward(
    dy,
    x,
    g,
    s,
    davg,
    dmax,
    peak,
    number,
    dstats,
    stats,
    count,
    dx,
    c_units,
    p_units,
    along_c,
    along_p,
    GATED: tl.constexpr,
    SPATIAL: tl.constexpr,
    USED: tl.constexpr,
    AVG: tl.constexpr,
    MAX: tl.constexpr,
    STATS: tl.constexpr,
    BC: tl.constexpr,
    BP: tl.constexpr,
    DENSE: tl.constexpr,
    AC: tl.constexpr,
    AP: tl.constexpr,
    ACC: tl.constexpr,
):
    """``dx = (dy * s + of the channel statistics) * g + of the spatial ones``; ``USED``: there is a ``dy``."""
    C = c_units * AC
    P = p_units * AP
    tiles = along_c * along_p
    n = (tl.program_id(0) // tiles).to(tl.int64)
    tile = tl.program_id(0) % tiles
    c = tile // along_p * BC + tl.arange(0, BC)
    p = tile % along_p * BP + tl.arange(0, BP)
    here = (c < C)[:, None] & (p < P)[None, :]
    at = n * C * P + _at(c, p, C, P, DENSE)
    row = n * C + c
    if MAX or STATS:
        of_x = tl.load(x + at, here, other=0.0)
    if GATED:
        gates = tl.load(g + row, c < C, other=0.0).to(x.dtype.element_ty).to(ACC)[:, None]
    d = tl.zeros((BC, BP), ACC)
    if USED:
        d = tl.load(dy + at, here, other=0.0).to(ACC)
        if SPATIAL:
            d *= tl.load(s + n * P + p, p < P, other=0.0).to(x.dtype.element_ty).to(ACC)[None, :]
    if STATS:
        v = of_x.to(ACC)
        if GATED:
            v = (v * gates).to(of_x.dtype).to(ACC)
        all_, rise, m = _statistics(dstats, stats, count, n, p, C, P, ACC)
        d += all_[None, :] + tl.where(v == m[None, :], rise[None, :], 0.0)
    if GATED:
        d *= gates
    if AVG:
        d += (tl.load(davg + row, c < C, other=0.0).to(ACC) / P)[:, None]
    if MAX:
        more = tl.load(dmax + row, c < C, other=0.0).to(ACC) / tl.load(number + row, c < C, other=1.0)
        top = tl.load(peak + row, c < C, other=0.0)
        d += tl.where(of_x.to(ACC) == top[:, None], more[:, None], 0.0)
    tl.store(dx + at, d.to(x.dtype.element_ty), here)
