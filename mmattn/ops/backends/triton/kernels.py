"""Triton kernels of the functions of a map, and of the tail of a residual block.

A map is read in tiles of ``BC`` channels and ``BP`` positions. ``DENSE`` is true for NCHW, false for
channels_last, and changes addresses only. ``C`` and ``P`` come as multiples of ``AC`` and ``AP``, powers of
two up to 16: from that the compiler knows how many elements it may read in one instruction. Sums are taken
in ``ACC``, fp32 or fp64, in an order that the sizes decide: no atomics. ``v`` is always ``x * channel`` in
the map's own dtype, so that a kernel that searches for a maximum again finds the very number that another
one found.

With ``HAS_NORM`` the elements ``x`` of the map are not in memory: its pointer is to ``z``, and
``x = z * scale + shift`` is rounded to the map's dtype. ``affine`` ``(4, C)`` has scale, shift, mean and
``1 / sqrt(var + eps)``. The multiplication and addition are one explicit ``fma``: a compiler that fuses them
in one kernel and not in another would lose maxima.

Tensors come as pointers, the comments say to what. Where a flag says that there is no such tensor, the
pointer is not read.
"""

# ruff: noqa: N803, N806
from __future__ import annotations

import triton
import triton.language as tl

# Without this, Triton would compile a variant of a kernel for each sort of number (1, a multiple of 16,
# others) while a model trains on images of many sizes. What the compiler has to know is in AC and AP.
_SIZES = [
    'c_units',
    'p_units',
    'along_c',
    'along_p',
    'along',
    'splits',
    'span',
    'row',
    'ties_row',
    'divisor',
    'L',
]


@triton.jit
def _at(c, p, C, P, DENSE: tl.constexpr):
    """Offsets of elements within an image: 64 bits, since one may have more than 2^31 elements."""
    if DENSE:
        at = c.to(tl.int64)[:, None] * P + p[None, :]
    else:
        at = p.to(tl.int64)[None, :] * C + c[:, None]
    return at


@triton.jit
def _program(c_units, p_units, tiles, AC: tl.constexpr, AP: tl.constexpr):
    """Channels and positions of a map; its image, and the one of an image's ``tiles``, of this program."""
    n = (tl.program_id(0) // tiles).to(tl.int64)
    return c_units * AC, p_units * AP, n, tl.program_id(0) % tiles


@triton.jit
def _elements(
    c_units,
    p_units,
    along_c,
    along_p,
    BC: tl.constexpr,
    BP: tl.constexpr,
    DENSE: tl.constexpr,
    AC: tl.constexpr,
    AP: tl.constexpr,
):
    """As :func:`_program`, with this program's channels and positions, what of them exists, and offsets."""
    C, P, n, tile = _program(c_units, p_units, along_c * along_p, AC, AP)
    c = tile // along_p * BC + tl.arange(0, BC)
    p = tile % along_p * BP + tl.arange(0, BP)
    here = (c < C)[:, None] & (p < P)[None, :]
    return C, P, n, c, p, here, n * C * P + _at(c, p, C, P, DENSE)


@triton.jit
def _rounded(gate, there, x, ACC: tl.constexpr):
    """Gates, rounded to the dtype of the map ``x``."""
    return tl.load(gate, there, other=0.0).to(x.dtype.element_ty).to(ACC)


@triton.jit
def _norm_of(affine, c, C):
    """Scale and shift of channels ``c``."""
    scale = tl.load(affine + c, c < C, other=0.0)
    shift = tl.load(affine + C + c, c < C, other=0.0)
    return scale[:, None], shift[:, None]


@triton.jit
def _normed(z, scale, shift, ACC: tl.constexpr):
    """The norm of elements ``z``, rounded to their dtype."""
    return tl.fma(z.to(ACC), scale.to(ACC), shift.to(ACC)).to(z.dtype)


@triton.jit
def _accumulate(v, here, amax, ties, ACC: tl.constexpr):
    """Take values ``v`` into running maxima (NaN is the highest) and their ties."""
    higher = ((v > amax) | (v != v)) & here
    ties = tl.where(higher, 1.0, ties + ((v == amax) & here).to(ACC))
    return tl.where(higher, v, amax), ties


@triton.jit
def _amax_and_ties(amax, ties, axis: tl.constexpr):
    """The maximum along an axis, and how often it is there."""
    is_nan = tl.max((amax != amax).to(tl.int32), axis)
    of_axis = tl.max(tl.where(amax != amax, float('-inf'), amax), axis)
    n = tl.sum(tl.where(amax == tl.expand_dims(of_axis, axis), ties, 0.0), axis)
    return tl.where(is_nan > 0, float('nan'), of_axis), n


@triton.jit(do_not_specialize=_SIZES)
def reduce(
    x,  # (N, C, P)
    affine,  # (4, C)
    channel,  # (N, C)
    total,  # (N, splits, C or P), rows `row` apart: sums / divisor
    amax,  # as total
    ties,  # (N, splits, C or P), rows `ties_row` apart
    c_units,  # C / AC
    p_units,  # P / AP
    along,  # tiles of channels (positions)
    splits,  # programs that share a tile's positions (channels)
    span,  # tiles of positions (channels) a program
    row,  # elements
    ties_row,  # elements
    divisor,  # a number
    OF_CHANNELS: tl.constexpr,  # reduce the positions of each channel, else the channels of each position
    HAS_NORM: tl.constexpr,  # bool
    HAS_CHANNEL: tl.constexpr,  # bool
    WITH_AMAX: tl.constexpr,  # bool
    BC: tl.constexpr,  # channels of a tile
    BP: tl.constexpr,  # positions of a tile
    DENSE: tl.constexpr,  # bool
    AC: tl.constexpr,  # divides C
    AP: tl.constexpr,  # divides P
    ACC: tl.constexpr,  # dtype of sums
):
    """Sums, maxima and ties of ``x * channel``, of each channel or of each position.

    The sums of channels are those of ``z`` if there is a norm: the mean of ``x`` follows from that of ``z``.
    Program ``(n * along + tile, split)`` walks over ``span`` tiles and writes entry ``split``.
    """
    C, P, n, tile = _program(c_units, p_units, along, AC, AP)
    split = tl.program_id(1)
    x += n * C * P
    sums = tl.zeros((BC, BP), ACC)
    running_amax = tl.full((BC, BP), float('-inf'), ACC)
    running_ties = tl.zeros((BC, BP), ACC)
    if OF_CHANNELS:
        c = tile * BC + tl.arange(0, BC)
        if HAS_NORM:
            scale, shift = _norm_of(affine, c, C)
        for step in range(split * span, tl.minimum(tl.cdiv(P, BP), (split + 1) * span)):
            p = step * BP + tl.arange(0, BP)
            here = (c < C)[:, None] & (p < P)[None, :]
            v = tl.load(x + _at(c, p, C, P, DENSE), here, other=0.0)
            sums += v.to(ACC)
            if WITH_AMAX:
                if HAS_NORM:
                    v = _normed(v, scale, shift, ACC)
                running_amax, running_ties = _accumulate(v.to(ACC), here, running_amax, running_ties, ACC)
        out = c
        there = c < C
    else:
        p = tile * BP + tl.arange(0, BP)
        for step in range(split * span, tl.minimum(tl.cdiv(C, BC), (split + 1) * span)):
            c = step * BC + tl.arange(0, BC)
            here = (c < C)[:, None] & (p < P)[None, :]
            v = tl.load(x + _at(c, p, C, P, DENSE), here, other=0.0)
            if HAS_NORM:
                scale, shift = _norm_of(affine, c, C)
                v = _normed(v, scale, shift, ACC)
            if HAS_CHANNEL:
                v = (v.to(ACC) * _rounded(channel + n * C + c, c < C, x, ACC)[:, None]).to(v.dtype)
            sums += tl.where(here, v.to(ACC), 0.0)
            running_amax, running_ties = _accumulate(v.to(ACC), here, running_amax, running_ties, ACC)
        out = p
        there = p < P
    at = (n * splits + split) * row + out
    tl.store(total + at, tl.sum(sums, 1 if OF_CHANNELS else 0) / divisor, there)
    if WITH_AMAX:
        tile_amax, tile_ties = _amax_and_ties(running_amax, running_ties, 1 if OF_CHANNELS else 0)
        tl.store(amax + at, tile_amax, there)
        tl.store(ties + (n * splits + split) * ties_row + out, tile_ties, there)


@triton.jit(do_not_specialize=_SIZES)
def join(
    total,  # (N, splits, L)
    amax,  # (N, splits, L)
    ties,  # (N, splits, L)
    total_out,  # (N, L), rows `row` apart: sums / divisor
    amax_out,  # as total_out
    ties_out,  # (N, L), rows `ties_row` apart
    L,  # C or P
    splits,  # partial results
    row,  # elements
    ties_row,  # elements
    divisor,  # a number
    WITH_AMAX: tl.constexpr,  # bool
    B: tl.constexpr,  # elements of a program
    ACC: tl.constexpr,  # dtype of sums
):
    """Combine partial results."""
    blocks = tl.cdiv(L, B)
    n = (tl.program_id(0) // blocks).to(tl.int64)
    i = tl.program_id(0) % blocks * B + tl.arange(0, B)
    there = i < L
    sums = tl.zeros((B,), ACC)
    running_amax = tl.full((B,), float('-inf'), ACC)
    running_ties = tl.zeros((B,), ACC)
    for split in range(splits):
        at = (n * splits + split) * L + i
        sums += tl.load(total + at, there, other=0.0)
        if WITH_AMAX:
            part_amax = tl.load(amax + at, there, other=0.0)
            part_ties = tl.load(ties + at, there, other=0.0)
            higher = (part_amax > running_amax) | (part_amax != part_amax)
            shared = tl.where(part_amax == running_amax, running_ties + part_ties, running_ties)
            running_ties = tl.where(higher, part_ties, shared)
            running_amax = tl.where(higher, part_amax, running_amax)
    tl.store(total_out + n * row + i, sums / divisor, there)
    if WITH_AMAX:
        tl.store(amax_out + n * row + i, running_amax, there)
        tl.store(ties_out + n * ties_row + i, running_ties, there)


@triton.jit(do_not_specialize=_SIZES)
def apply_gates(
    x,  # (N, C, P)
    channel,  # (N, C)
    spatial,  # (N, P)
    y,  # (N, C, P)
    c_units,  # C / AC
    p_units,  # P / AP
    along_c,  # tiles of channels
    along_p,  # tiles of positions
    HAS_CHANNEL: tl.constexpr,  # bool
    HAS_SPATIAL: tl.constexpr,  # bool
    BC: tl.constexpr,  # channels of a tile
    BP: tl.constexpr,  # positions of a tile
    DENSE: tl.constexpr,  # bool
    AC: tl.constexpr,  # divides C
    AP: tl.constexpr,  # divides P
    ACC: tl.constexpr,  # dtype of products
):
    """``y = (x * channel) * spatial``, each product rounded to the map's dtype."""
    C, P, n, c, p, here, at = _elements(c_units, p_units, along_c, along_p, BC, BP, DENSE, AC, AP)
    v = tl.load(x + at, here, other=0.0)
    if HAS_CHANNEL:
        v = (v.to(ACC) * _rounded(channel + n * C + c, c < C, x, ACC)[:, None]).to(v.dtype)
    if HAS_SPATIAL:
        v = (v.to(ACC) * _rounded(spatial + n * P + p, p < P, x, ACC)[None, :]).to(v.dtype)
    tl.store(y + at, v, here)


@triton.jit(do_not_specialize=_SIZES)
def gates_backward(
    dy,  # (N, C, P)
    x,  # (N, C, P)
    channel,  # (N, C)
    spatial,  # (N, P)
    dchannel,  # (N, along, C)
    dspatial,  # (N, splits, P)
    c_units,  # C / AC
    p_units,  # P / AP
    along,  # tiles of positions
    splits,  # programs that share a tile's channels
    span,  # tiles of channels a program
    HAS_CHANNEL: tl.constexpr,  # bool
    HAS_SPATIAL: tl.constexpr,  # bool
    BC: tl.constexpr,  # channels of a tile
    BP: tl.constexpr,  # positions of a tile
    DENSE: tl.constexpr,  # bool
    AC: tl.constexpr,  # divides C
    AP: tl.constexpr,  # divides P
    ACC: tl.constexpr,  # dtype of sums
):
    """Gradients of the gates: of the channel gate by tiles of positions, of the spatial one by splits.

    Program ``(n * along + tile, split)`` walks over ``span`` tiles of channels.
    """
    C, P, n, tile = _program(c_units, p_units, along, AC, AP)
    split = tl.program_id(1)
    p = tile * BP + tl.arange(0, BP)
    x += n * C * P
    dy += n * C * P
    sums = tl.zeros((BC, BP), ACC)
    if HAS_SPATIAL:
        spatial_gate = _rounded(spatial + n * P + p, p < P, x, ACC)
    for step in range(split * span, tl.minimum(tl.cdiv(C, BC), (split + 1) * span)):
        c = step * BC + tl.arange(0, BC)
        here = (c < C)[:, None] & (p < P)[None, :]
        at = _at(c, p, C, P, DENSE)
        d = tl.load(dy + at, here, other=0.0).to(ACC) * tl.load(x + at, here, other=0.0).to(ACC)
        if HAS_SPATIAL:
            if HAS_CHANNEL:
                sums += d * _rounded(channel + n * C + c, c < C, x, ACC)[:, None]
            else:
                sums += d
        if HAS_CHANNEL:
            if HAS_SPATIAL:
                d *= spatial_gate[None, :]
            tl.store(dchannel + (n * along + tile) * C + c, tl.sum(d, 1), c < C)
    if HAS_SPATIAL:
        tl.store(dspatial + (n * splits + split) * P + p, tl.sum(sums, 0), p < P)


@triton.jit
def _stats_shares(v, dstats, stats, ties, n, p, C, P, ACC: tl.constexpr):
    """What elements ``v`` get of the gradients of the statistics at their positions ``p``."""
    there = p < P
    amax = tl.load(stats + n * 2 * P + p, there, other=0.0)
    amax_ties = tl.load(ties + n * P + p, there, other=1.0)
    by_amax = tl.load(dstats + n * 2 * P + p, there, other=0.0).to(ACC) / amax_ties
    by_mean = tl.load(dstats + n * 2 * P + P + p, there, other=0.0).to(ACC) / C
    return by_mean[None, :] + tl.where(v == amax[None, :], by_amax[None, :], 0.0)


@triton.jit(do_not_specialize=_SIZES)
def stats_backward(
    x,  # (N, C, P)
    affine,  # (4, C)
    channel,  # (N, C)
    dstats,  # (N, 2, P)
    stats,  # (N, 2, P)
    ties,  # (N, P)
    dchannel,  # (N, splits, C)
    c_units,  # C / AC
    p_units,  # P / AP
    along,  # tiles of channels
    splits,  # programs that share a tile's positions
    span,  # tiles of positions a program
    HAS_NORM: tl.constexpr,  # bool
    BC: tl.constexpr,  # channels of a tile
    BP: tl.constexpr,  # positions of a tile
    DENSE: tl.constexpr,  # bool
    AC: tl.constexpr,  # divides C
    AP: tl.constexpr,  # divides P
    ACC: tl.constexpr,  # dtype of sums
):
    """Gradient of the channel gate by way of the statistics.

    Program ``(n * along + tile, split)`` walks over ``span`` tiles of positions.
    """
    C, P, n, tile = _program(c_units, p_units, along, AC, AP)
    c = tile * BC + tl.arange(0, BC)
    split = tl.program_id(1)
    x += n * C * P
    channel_gate = _rounded(channel + n * C + c, c < C, x, ACC)
    if HAS_NORM:
        scale, shift = _norm_of(affine, c, C)
    sums = tl.zeros((BC, BP), ACC)
    for step in range(split * span, tl.minimum(tl.cdiv(P, BP), (split + 1) * span)):
        p = step * BP + tl.arange(0, BP)
        here = (c < C)[:, None] & (p < P)[None, :]
        element = tl.load(x + _at(c, p, C, P, DENSE), here, other=0.0)
        if HAS_NORM:
            element = _normed(element, scale, shift, ACC)
        v = (element.to(ACC) * channel_gate[:, None]).to(element.dtype).to(ACC)
        sums += element.to(ACC) * _stats_shares(v, dstats, stats, ties, n, p, C, P, ACC)
    tl.store(dchannel + (n * splits + split) * C + c, tl.sum(sums, 1), c < C)


@triton.jit(do_not_specialize=_SIZES)
def map_backward(
    dy,  # (N, C, P)
    x,  # (N, C, P)
    affine,  # (4, C)
    channel,  # (N, C)
    spatial,  # (N, P)
    davg,  # (N, C)
    damax,  # (N, C)
    amax,  # (N, C)
    ties,  # (N, C)
    dstats,  # (N, 2, P)
    stats,  # (N, 2, P)
    stats_ties,  # (N, P)
    dx,  # (N, C, P)
    sums,  # (2, N, along_p, C)
    c_units,  # C / AC
    p_units,  # P / AP
    along_c,  # tiles of channels
    along_p,  # tiles of positions
    HAS_NORM: tl.constexpr,  # bool
    WITH_SUMS: tl.constexpr,  # bool
    HAS_DY: tl.constexpr,  # bool
    HAS_CHANNEL: tl.constexpr,  # bool
    HAS_SPATIAL: tl.constexpr,  # bool
    HAS_DAVG: tl.constexpr,  # bool
    HAS_DAMAX: tl.constexpr,  # bool
    HAS_DSTATS: tl.constexpr,  # bool
    BC: tl.constexpr,  # channels of a tile
    BP: tl.constexpr,  # positions of a tile
    DENSE: tl.constexpr,  # bool
    AC: tl.constexpr,  # divides C
    AP: tl.constexpr,  # divides P
    ACC: tl.constexpr,  # dtype of sums
):
    """``dx = (dy * spatial + by the channel statistics) * channel + by the pooling``.

    With a norm ``dx * scale``, the gradient of ``z``, is written. If they are wanted, each tile's sums over
    its positions of ``dx`` and of ``dx * (z - mean)`` are too.
    """
    C, P, n, c, p, here, at = _elements(c_units, p_units, along_c, along_p, BC, BP, DENSE, AC, AP)
    row = n * C + c
    if HAS_DAMAX or HAS_DSTATS or WITH_SUMS:
        element = tl.load(x + at, here, other=0.0)
    if WITH_SUMS:
        centred = element.to(ACC) - tl.load(affine + 2 * C + c, c < C, other=0.0)[:, None]
    if HAS_NORM:
        scale, shift = _norm_of(affine, c, C)
        if HAS_DAMAX or HAS_DSTATS:
            element = _normed(element, scale, shift, ACC)
    if HAS_CHANNEL:
        channel_gate = _rounded(channel + row, c < C, x, ACC)[:, None]
    d = tl.zeros((BC, BP), ACC)
    if HAS_DY:
        d = tl.load(dy + at, here, other=0.0).to(ACC)
        if HAS_SPATIAL:
            d *= _rounded(spatial + n * P + p, p < P, x, ACC)[None, :]
    if HAS_DSTATS:
        v = element.to(ACC)
        if HAS_CHANNEL:
            v = (v * channel_gate).to(element.dtype).to(ACC)
        d += _stats_shares(v, dstats, stats, stats_ties, n, p, C, P, ACC)
    if HAS_CHANNEL:
        d *= channel_gate
    if HAS_DAVG:
        d += (tl.load(davg + row, c < C, other=0.0).to(ACC) / P)[:, None]
    if HAS_DAMAX:
        by_amax = tl.load(damax + row, c < C, other=0.0).to(ACC) / tl.load(ties + row, c < C, other=1.0)
        row_amax = tl.load(amax + row, c < C, other=0.0)
        d += tl.where(element.to(ACC) == row_amax[:, None], by_amax[:, None], 0.0)
    if WITH_SUMS:
        d = tl.where(here, d, 0.0)
        parts = tl.num_programs(0) // along_c
        part = (n * along_p + tl.program_id(0) % along_p) * C + c
        tl.store(sums + part, tl.sum(d, 1), c < C)
        tl.store(sums + parts.to(tl.int64) * C + part, tl.sum(d * centred, 1), c < C)
    if HAS_NORM:
        d *= scale
    tl.store(dx + at, d.to(x.dtype.element_ty), here)


@triton.jit(do_not_specialize=_SIZES)
def tail(
    z,  # (N, C, P)
    affine,  # (4, C)
    channel,  # (N, C)
    spatial,  # (N, P)
    identity,  # (N, C, P)
    out,  # (N, C, P), may be z
    c_units,  # C / AC
    p_units,  # P / AP
    along_c,  # tiles of channels
    along_p,  # tiles of positions
    HAS_NORM: tl.constexpr,  # bool
    HAS_CHANNEL: tl.constexpr,  # bool
    HAS_SPATIAL: tl.constexpr,  # bool
    BC: tl.constexpr,  # channels of a tile
    BP: tl.constexpr,  # positions of a tile
    DENSE: tl.constexpr,  # bool
    AC: tl.constexpr,  # divides C
    AP: tl.constexpr,  # divides P
    ACC: tl.constexpr,  # dtype of products
):
    """``out = relu(x * channel * spatial + identity)``, all steps rounded to the map's dtype."""
    C, P, n, c, p, here, at = _elements(c_units, p_units, along_c, along_p, BC, BP, DENSE, AC, AP)
    v = tl.load(z + at, here, other=0.0)
    if HAS_NORM:
        scale, shift = _norm_of(affine, c, C)
        v = _normed(v, scale, shift, ACC)
    if HAS_CHANNEL:
        v = (v.to(ACC) * _rounded(channel + n * C + c, c < C, z, ACC)[:, None]).to(v.dtype)
    if HAS_SPATIAL:
        v = (v.to(ACC) * _rounded(spatial + n * P + p, p < P, z, ACC)[None, :]).to(v.dtype)
    total = v.to(ACC) + tl.load(identity + at, here, other=0.0).to(ACC)
    tl.store(out + at, tl.where(total <= 0, 0.0, total).to(v.dtype), here)  # NaN stays


@triton.jit(do_not_specialize=_SIZES)
def tail_backward(
    dout,  # (N, C, P)
    out,  # (N, C, P)
    z,  # (N, C, P)
    affine,  # (4, C)
    channel,  # (N, C)
    spatial,  # (N, P)
    d,  # (N, C, P)
    dchannel,  # (N, along, C)
    dspatial,  # (N, splits, P)
    sums,  # (2, N, along, C)
    c_units,  # C / AC
    p_units,  # P / AP
    along,  # tiles of positions
    splits,  # programs that share a tile's channels
    span,  # tiles of channels a program
    HAS_NORM: tl.constexpr,  # bool
    HAS_CHANNEL: tl.constexpr,  # bool
    HAS_SPATIAL: tl.constexpr,  # bool
    WITH_D: tl.constexpr,  # bool
    WITH_SUMS: tl.constexpr,  # bool
    BC: tl.constexpr,  # channels of a tile
    BP: tl.constexpr,  # positions of a tile
    DENSE: tl.constexpr,  # bool
    AC: tl.constexpr,  # divides C
    AP: tl.constexpr,  # divides P
    ACC: tl.constexpr,  # dtype of sums
):
    """``d``, which is ``dout`` where the ReLU let through; from it gradients of the gates, and sums.

    The sums are over the tile's positions, of ``d`` and of ``d * (z - mean)``. Programs and partial results
    are those of :func:`gates_backward`.
    """
    C, P, n, tile = _program(c_units, p_units, along, AC, AP)
    split = tl.program_id(1)
    p = tile * BP + tl.arange(0, BP)
    by_position = tl.zeros((BC, BP), ACC)
    if HAS_SPATIAL:
        spatial_gate = _rounded(spatial + n * P + p, p < P, z, ACC)
    for step in range(split * span, tl.minimum(tl.cdiv(C, BC), (split + 1) * span)):
        c = step * BC + tl.arange(0, BC)
        here = (c < C)[:, None] & (p < P)[None, :]
        at = n * C * P + _at(c, p, C, P, DENSE)
        passed = tl.load(out + at, here, other=0.0) > 0
        by_element = tl.where(passed, tl.load(dout + at, here, other=0.0).to(ACC), 0.0)
        row = (n * along + tile) * C + c
        if WITH_D:
            tl.store(d + at, by_element.to(z.dtype.element_ty), here)
        if HAS_CHANNEL or HAS_SPATIAL or WITH_SUMS:
            element = tl.load(z + at, here, other=0.0)
        if WITH_SUMS:
            centred = element.to(ACC) - tl.load(affine + 2 * C + c, c < C, other=0.0)[:, None]
            tl.store(sums + row, tl.sum(by_element, 1), c < C)
            second = tl.num_programs(0).to(tl.int64) * C
            tl.store(sums + second + row, tl.sum(by_element * centred, 1), c < C)
        if HAS_CHANNEL or HAS_SPATIAL:
            if HAS_NORM:
                scale, shift = _norm_of(affine, c, C)
                element = _normed(element, scale, shift, ACC)
            by_element *= element.to(ACC)
        if HAS_SPATIAL:
            if HAS_CHANNEL:
                by_position += by_element * _rounded(channel + n * C + c, c < C, z, ACC)[:, None]
            else:
                by_position += by_element
        if HAS_CHANNEL:
            if HAS_SPATIAL:
                by_element *= spatial_gate[None, :]
            tl.store(dchannel + row, tl.sum(by_element, 1), c < C)
    if HAS_SPATIAL:
        tl.store(dspatial + (n * splits + split) * P + p, tl.sum(by_position, 0), p < P)
