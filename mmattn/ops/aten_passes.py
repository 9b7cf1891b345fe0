"""The passes by calls of PyTorch: any device, any dtype. See passes.py for what each computes.

A map is worked on in pieces that stay in the cache, through one scratch each: what costs most on a CPU is
fresh memory of the size of a map.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from mmattn.ops.precision import accurate_dtype

PIECE = 2**18
"""Elements of a piece: 1 MB of fp32."""


def _rows(x: Tensor) -> Iterator[tuple[int, slice]]:
    """Pictures, and channels with all their positions."""
    n, c, p = x.shape
    step = max(PIECE // p, 1)
    return ((i, slice(k, min(k + step, c))) for i in range(n) for k in range(0, c, step))


def _columns(x: Tensor) -> Iterator[tuple[int, slice]]:
    """Pictures, and positions with all their channels."""
    n, c, p = x.shape
    step = max(PIECE // c, 16)
    return ((i, slice(k, min(k + step, p))) for i in range(n) for k in range(0, p, step))


def _of_channels(g: Tensor | None) -> Tensor | None:
    return None if g is None else g.flatten(1).unsqueeze(2)


def _of_positions(s: Tensor | None) -> Tensor | None:
    return None if s is None else s.flatten(2)


def pool(x: Tensor, peaks: bool) -> tuple[Tensor, Tensor, Tensor]:
    dtype = accurate_dtype(x)
    avg = x.mean((2, 3), keepdim=True, dtype=dtype)
    if not peaks:
        return avg, avg.new_empty(0), avg.new_empty(0)
    top = x.amax((2, 3), keepdim=True)
    count = torch.empty_like(avg)
    flat = x.flatten(2)
    for i, k in _rows(flat):
        count[i, k, 0, 0] = flat[i, k].eq(top[i, k, 0]).sum(1).to(dtype)
    return avg, top.to(dtype), count


def stats(x: Tensor, g: Tensor | None) -> tuple[Tensor, Tensor]:
    dtype = accurate_dtype(x)
    flat, gate = x.flatten(2), _of_channels(g)
    out = flat.new_empty((x.shape[0], 2, flat.shape[2]), dtype=dtype)
    count = torch.empty_like(out[:, :1])
    for i, k in _columns(flat):
        piece = flat[i, :, k] if gate is None else flat[i, :, k] * gate[i].to(x.dtype)
        top = piece.amax(0)
        out[i, 0, k] = top.to(dtype)
        out[i, 1, k] = piece.mean(0, dtype=dtype)
        count[i, 0, k] = piece.eq(top).sum(0).to(dtype)
    return out.unflatten(2, x.shape[2:]), count.unflatten(2, x.shape[2:])


def gate(x: Tensor, g: Tensor | None, s: Tensor | None) -> Tensor:
    if g is None or s is None:
        return x * (s if g is None else g).to(x.dtype)
    y = torch.empty_like(x)
    flat, out, of_channels, of_positions = x.flatten(2), y.flatten(2), _of_channels(g), _of_positions(s)
    for i, k in _rows(flat):
        torch.mul(flat[i, k], of_channels[i, k].to(x.dtype), out=out[i, k])
        out[i, k].mul_(of_positions[i].to(x.dtype))
    return y


def gate_backward(dy: Tensor, x: Tensor, g: Tensor | None, s: Tensor | None) -> tuple[Tensor, Tensor]:
    dtype = accurate_dtype(x)
    n, c = x.shape[:2]
    flat, dflat, of_channels, of_positions = x.flatten(2), dy.flatten(2), _of_channels(g), _of_positions(s)
    dg = x.new_empty((n, c) if g is not None else 0, dtype=dtype)
    ds = x.new_zeros((n, flat.shape[2]) if s is not None else 0, dtype=dtype)
    for i, k in _rows(flat):
        piece = flat[i, k].to(dtype) * dflat[i, k]
        if s is not None:
            ds[i] += (piece if g is None else piece * of_channels[i, k].to(x.dtype)).sum(0)
        if g is not None:
            dg[i, k] = (piece if s is None else piece.mul_(of_positions[i].to(x.dtype))).sum(1)
    return (
        dg if g is None else dg[..., None, None],
        ds if s is None else ds.unsqueeze(1).unflatten(2, x.shape[2:]),
    )


def stats_backward(x: Tensor, g: Tensor, dstats: Tensor, stats: Tensor, count: Tensor) -> Tensor:
    dtype = accurate_dtype(x)
    flat, of_channels, both, dboth = x.flatten(2), _of_channels(g), stats.flatten(2), dstats.flatten(2)
    rise, all_ = dboth[:, :1] / count.flatten(2), dboth[:, 1:] / x.shape[1]
    dg = x.new_zeros(x.shape[:2], dtype=dtype)
    for i, k in _columns(flat):
        piece = flat[i, :, k]
        peaks = (piece * of_channels[i].to(x.dtype)).eq(both[i, 0, k].to(x.dtype))
        dg[i] += ((peaks * rise[i, :, k]).add_(all_[i, :, k]).mul_(piece)).sum(1)
    return dg[..., None, None]


def map_backward(
    dy: Tensor | None,
    x: Tensor,
    g: Tensor | None,
    s: Tensor | None,
    davg: Tensor | None,
    dmax: Tensor | None,
    peak: Tensor | None,
    number: Tensor | None,
    dstats: Tensor | None,
    stats: Tensor | None,
    count: Tensor | None,
) -> Tensor:
    dtype = accurate_dtype(x)
    dx = torch.empty_like(x)
    flat, out = x.flatten(2), dx.flatten(2)
    dflat = None if dy is None else dy.flatten(2)
    of_channels, of_positions = _of_channels(g), _of_positions(s)
    if dstats is not None:
        dboth, top = dstats.flatten(2), stats.flatten(2)[:, :1].to(x.dtype)
        rise_s, all_s = dboth[:, :1] / count.flatten(2), dboth[:, 1:] / x.shape[1]
    shift = None if davg is None else _of_channels(davg) / flat.shape[2]
    rise = None if dmax is None else _of_channels(dmax / number)
    for i, k in _rows(flat):
        piece = flat[i, k]
        gates = None if g is None else of_channels[i, k].to(x.dtype)
        d = torch.zeros_like(piece, dtype=dtype) if dy is None else dflat[i, k].to(dtype, copy=True)
        if s is not None:
            d.mul_(of_positions[i].to(x.dtype))
        if dstats is not None:
            peaks = (piece if g is None else piece * gates).eq(top[i])
            d.add_(peaks * rise_s[i]).add_(all_s[i])
        if g is not None:
            d.mul_(gates)
        if shift is not None:
            d.add_(shift[i, k])
        if rise is not None:
            d.add_(piece.eq(_of_channels(peak)[i, k].to(x.dtype)) * rise[i, k])
        out[i, k] = d
    return dx
