"""Triton kernels of the functions of a map.

A map is read in tiles of ``BC`` channels and ``BP`` positions. ``DENSE`` is true for NCHW, false for
channels_last, and changes addresses only. ``C`` and ``P`` come as multiples of ``AC`` and ``AP``, powers of
two up to 16: from that the compiler knows how many elements it may read in one instruction. Sums are taken
in ``ACC``, fp32 or fp64, in an order that the sizes decide: no atomics. ``v`` is always ``x * g`` in the
map's own dtype, so that a kernel that searches for a maximum again finds the very number that another one
found.
"""

# ruff: noqa: N803, N806
from __future__ import annotations

import triton
import triton.language as tl

# Without this, Triton would compile a variant of a kernel for each sort of number (1, a multiple of 16,
# others) while a model trains on images of many sizes. What the compiler has to know is in AC and AP.
_SIZES = ['c_units', 'p_units', 'along_c', 'along_p', 'splits', 'span', 'row', 'ties_row', 'divisor', 'L']


@triton.jit
def _at(c, p, C, P, DENSE: tl.constexpr):
    """Offsets of elements within an image: 64 bits, since one may have more than 2^31 elements."""
    if DENSE:
        at = c.to(tl.int64)[:, None] * P + p[None, :]
    else:
        at = p.to(tl.int64)[None, :] * C + c[:, None]
    return at


@triton.jit
def _accumulate(v, here, total, amax, ties, ACC: tl.constexpr):
    """Take values ``v`` into running sums, maxima (NaN is the highest) and numbers of maxima."""
    higher = ((v > amax) | (v != v)) & here
    ties = tl.where(higher, 1.0, ties + ((v == amax) & here).to(ACC))
    amax = tl.where(higher, v, amax)
    return total + tl.where(here, v, 0.0), amax, ties


@triton.jit
def _amax_and_ties(amax, ties, axis: tl.constexpr):
    """The maximum along an axis, and how often it is there."""
    wrong = tl.max((amax != amax).to(tl.int32), axis)
    highest = tl.max(tl.where(amax != amax, float('-inf'), amax), axis)
    n = tl.sum(tl.where(amax == tl.expand_dims(highest, axis), ties, 0.0), axis)
    return tl.where(wrong > 0, float('nan'), highest), n


@triton.jit(do_not_specialize=_SIZES)
def reduce(
    x,
    g,
    total,
    amax,
    ties,
    c_units,
    p_units,
    along_c,
    along_p,
    splits,
    span,
    row,
    ties_row,
    divisor,
    GATED: tl.constexpr,
    AMAX: tl.constexpr,
    OF_CHANNELS: tl.constexpr,
    BC: tl.constexpr,
    BP: tl.constexpr,
    DENSE: tl.constexpr,
    AC: tl.constexpr,
    AP: tl.constexpr,
    ACC: tl.constexpr,
):
    """Sums, maxima and numbers of maxima of ``x * g``, of each channel or of each position.

    Program ``(n * tiles + tile, split)`` walks over ``span`` tiles of positions (channels) and writes entry
    ``split`` of ``(N, splits, C)`` (``(N, splits, P)``). Rows are ``row`` elements apart, those of ties
    ``ties_row``.
    """
    C = c_units * AC
    P = p_units * AP
    tiles = along_c * along_p
    n = (tl.program_id(0) // tiles).to(tl.int64)
    tile = tl.program_id(0) % tiles
    split = tl.program_id(1)
    x += n * C * P
    sums = tl.zeros((BC, BP), ACC)
    maxima = tl.full((BC, BP), float('-inf'), ACC)
    shares = tl.zeros((BC, BP), ACC)
    if OF_CHANNELS:
        c = tile * BC + tl.arange(0, BC)
        for step in range(split * span, tl.minimum(tl.cdiv(P, BP), (split + 1) * span)):
            p = step * BP + tl.arange(0, BP)
            here = (c < C)[:, None] & (p < P)[None, :]
            v = tl.load(x + _at(c, p, C, P, DENSE), here, other=0.0).to(ACC)
            if AMAX:
                sums, maxima, shares = _accumulate(v, here, sums, maxima, shares, ACC)
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
            sums, maxima, shares = _accumulate(v.to(ACC), here, sums, maxima, shares, ACC)
        out = p
        there = p < P
    at = (n * splits + split) * row + out
    tl.store(total + at, tl.sum(sums, 1 if OF_CHANNELS else 0) / divisor, there)
    if AMAX:
        highest, sharing = _amax_and_ties(maxima, shares, 1 if OF_CHANNELS else 0)
        tl.store(amax + at, highest, there)
        tl.store(ties + (n * splits + split) * ties_row + out, sharing, there)


@triton.jit(do_not_specialize=_SIZES)
def join(
    total,
    amax,
    ties,
    total_out,
    amax_out,
    ties_out,
    L,
    splits,
    row,
    ties_row,
    divisor,
    AMAX: tl.constexpr,
    B: tl.constexpr,
    ACC: tl.constexpr,
):
    """Combine partial results ``(N, splits, L)``. Output rows are ``row`` elements apart, of ties
    ``ties_row``."""
    blocks = tl.cdiv(L, B)
    n = (tl.program_id(0) // blocks).to(tl.int64)
    i = tl.program_id(0) % blocks * B + tl.arange(0, B)
    there = i < L
    sums = tl.zeros((B,), ACC)
    maxima = tl.full((B,), float('-inf'), ACC)
    shares = tl.zeros((B,), ACC)
    for split in range(splits):
        at = (n * splits + split) * L + i
        sums += tl.load(total + at, there, other=0.0)
        if AMAX:
            highest = tl.load(amax + at, there, other=0.0)
            sharing = tl.load(ties + at, there, other=0.0)
            higher = (highest > maxima) | (highest != highest)
            shares = tl.where(higher, sharing, tl.where(highest == maxima, shares + sharing, shares))
            maxima = tl.where(higher, highest, maxima)
    tl.store(total_out + n * row + i, sums / divisor, there)
    if AMAX:
        tl.store(amax_out + n * row + i, maxima, there)
        tl.store(ties_out + n * ties_row + i, shares, there)


@triton.jit(do_not_specialize=_SIZES)
def apply_gates(
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
def gates_backward(
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
def _statistics(dstats, stats, ties, n, p, C, P, ACC: tl.constexpr):
    """At positions: the gradient of a value, what a maximum gets besides, and the maximum."""
    there = p < P
    highest = tl.load(stats + n * 2 * P + p, there, other=0.0)
    sharing = tl.load(ties + n * P + p, there, other=1.0)
    of_amax = tl.load(dstats + n * 2 * P + p, there, other=0.0).to(ACC) / sharing
    of_mean = tl.load(dstats + n * 2 * P + P + p, there, other=0.0).to(ACC) / C
    return of_mean, of_amax, highest


@triton.jit(do_not_specialize=_SIZES)
def stats_backward(
    x,
    g,
    dstats,
    stats,
    ties,
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
        of_mean, of_amax, highest = _statistics(dstats, stats, ties, n, p, C, P, ACC)
        sums += of_x.to(ACC) * (of_mean[None, :] + tl.where(v == highest[None, :], of_amax[None, :], 0.0))
    tl.store(dg + (n * splits + split) * C + c, tl.sum(sums, 1), c < C)


@triton.jit(do_not_specialize=_SIZES)
def map_backward(
    dy,
    x,
    g,
    s,
    davg,
    damax,
    amax,
    ties,
    dstats,
    stats,
    stats_ties,
    dx,
    c_units,
    p_units,
    along_c,
    along_p,
    GATED: tl.constexpr,
    SPATIAL: tl.constexpr,
    USED: tl.constexpr,
    AVG: tl.constexpr,
    AMAX: tl.constexpr,
    STATS: tl.constexpr,
    BC: tl.constexpr,
    BP: tl.constexpr,
    DENSE: tl.constexpr,
    AC: tl.constexpr,
    AP: tl.constexpr,
    ACC: tl.constexpr,
):
    """``dx = (dy * s + of the channel statistics) * g + of the pooling``; ``USED``: there is a ``dy``."""
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
    if AMAX or STATS:
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
        of_mean, of_amax, highest = _statistics(dstats, stats, stats_ties, n, p, C, P, ACC)
        d += of_mean[None, :] + tl.where(v == highest[None, :], of_amax[None, :], 0.0)
    if GATED:
        d *= gates
    if AVG:
        d += (tl.load(davg + row, c < C, other=0.0).to(ACC) / P)[:, None]
    if AMAX:
        more = tl.load(damax + row, c < C, other=0.0).to(ACC) / tl.load(ties + row, c < C, other=1.0)
        at_amax = tl.load(amax + row, c < C, other=0.0)
        d += tl.where(of_x.to(ACC) == at_amax[:, None], more[:, None], 0.0)
    tl.store(dx + at, d.to(x.dtype.element_ty), here)
