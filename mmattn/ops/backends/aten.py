"""The backend of PyTorch calls: any device, any dtype.

A map is worked on in pieces that stay in the cache: on a CPU, new memory of a map's size costs most.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from mmattn.ops.backends.base import Gates, MapGrads, Pooled, Stats
from mmattn.ops.precision import accurate_dtype

PIECE = 2**18
"""Elements of a piece: 1 MB of fp32."""


def _rows(x: Tensor) -> Iterator[tuple[int, slice]]:
    """Images, and channels with all their positions."""
    n, c, p = x.shape
    step = max(PIECE // p, 1)
    return ((i, slice(k, min(k + step, c))) for i in range(n) for k in range(0, c, step))


def _columns(x: Tensor) -> Iterator[tuple[int, slice]]:
    """Images, and positions with all their channels."""
    n, c, p = x.shape
    step = max(PIECE // c, 16)
    return ((i, slice(k, min(k + step, p))) for i in range(n) for k in range(0, p, step))


def _of_channels(g: Tensor | None) -> Tensor | None:
    return None if g is None else g.flatten(1).unsqueeze(2)


def _of_positions(s: Tensor | None) -> Tensor | None:
    return None if s is None else s.flatten(2)


def missing_reason() -> str:
    """PyTorch is always there."""
    return ''


def pool(x: Tensor, with_amax: bool) -> Pooled:
    dtype = accurate_dtype(x)
    avg = x.mean((2, 3), keepdim=True, dtype=dtype)
    if not with_amax:
        return Pooled(avg, avg.new_empty(0), avg.new_empty(0))
    amax = x.amax((2, 3), keepdim=True)
    ties = torch.empty_like(avg)
    flat = x.flatten(2)
    for i, k in _rows(flat):
        ties[i, k, 0, 0] = flat[i, k].eq(amax[i, k, 0]).sum(1).to(dtype)
    return Pooled(avg, amax.to(dtype), ties)


def stats(x: Tensor, channel: Tensor | None) -> Stats:
    dtype = accurate_dtype(x)
    flat, gate = x.flatten(2), _of_channels(channel)
    out = flat.new_empty((x.shape[0], 2, flat.shape[2]), dtype=dtype)
    ties = torch.empty_like(out[:, :1])
    for i, k in _columns(flat):
        piece = flat[i, :, k] if gate is None else flat[i, :, k] * gate[i].to(x.dtype)
        amax = piece.amax(0)
        out[i, 0, k] = amax.to(dtype)
        out[i, 1, k] = piece.mean(0, dtype=dtype)
        ties[i, 0, k] = piece.eq(amax).sum(0).to(dtype)
    return Stats(out.unflatten(2, x.shape[2:]), ties.unflatten(2, x.shape[2:]))


def apply_gates(x: Tensor, gates: Gates) -> Tensor:
    g, s = gates
    if g is None or s is None:
        return x * (s if g is None else g).to(x.dtype)
    y = torch.empty_like(x)
    flat, out, of_channels, of_positions = x.flatten(2), y.flatten(2), _of_channels(g), _of_positions(s)
    for i, k in _rows(flat):
        torch.mul(flat[i, k], of_channels[i, k].to(x.dtype), out=out[i, k])
        out[i, k].mul_(of_positions[i].to(x.dtype))
    return y


def gates_backward(x: Tensor, dy: Tensor, gates: Gates) -> Gates:
    g, s = gates
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
    return Gates(
        dg if g is None else dg[..., None, None],
        ds if s is None else ds.unsqueeze(1).unflatten(2, x.shape[2:]),
    )


def stats_backward(x: Tensor, channel: Tensor, dstats: Tensor, stats: Stats) -> Tensor:
    dtype = accurate_dtype(x)
    flat, of_channels = x.flatten(2), _of_channels(channel)
    both, dboth = stats.amax_mean.flatten(2), dstats.flatten(2)
    of_amax, of_mean = dboth[:, :1] / stats.ties.flatten(2), dboth[:, 1:] / x.shape[1]
    dg = x.new_zeros(x.shape[:2], dtype=dtype)
    for i, k in _columns(flat):
        piece = flat[i, :, k]
        is_amax = (piece * of_channels[i].to(x.dtype)).eq(both[i, 0, k].to(x.dtype))
        dg[i] += ((is_amax * of_amax[i, :, k]).add_(of_mean[i, :, k]).mul_(piece)).sum(1)
    return dg[..., None, None]


def map_backward(x: Tensor, grads: MapGrads) -> Tensor:
    g, s = grads.channel, grads.spatial
    dtype = accurate_dtype(x)
    dx = torch.empty_like(x)
    flat, out = x.flatten(2), dx.flatten(2)
    dflat = None if grads.dy is None else grads.dy.flatten(2)
    of_channels, of_positions = _of_channels(g), _of_positions(s)
    if grads.dstats is not None:
        dboth, amax = grads.dstats.flatten(2), grads.stats.flatten(2)[:, :1].to(x.dtype)
        of_amax, of_mean = dboth[:, :1] / grads.stats_ties.flatten(2), dboth[:, 1:] / x.shape[1]
    shift = None if grads.davg is None else _of_channels(grads.davg) / flat.shape[2]
    rise = None if grads.damax is None else _of_channels(grads.damax / grads.ties)
    for i, k in _rows(flat):
        piece = flat[i, k]
        gates = None if g is None else of_channels[i, k].to(x.dtype)
        d = torch.zeros_like(piece, dtype=dtype) if dflat is None else dflat[i, k].to(dtype, copy=True)
        if s is not None:
            d.mul_(of_positions[i].to(x.dtype))
        if grads.dstats is not None:
            is_amax = (piece if g is None else piece * gates).eq(amax[i])
            d.add_(is_amax * of_amax[i]).add_(of_mean[i])
        if g is not None:
            d.mul_(gates)
        if shift is not None:
            d.add_(shift[i, k])
        if rise is not None:
            d.add_(piece.eq(_of_channels(grads.amax)[i, k].to(x.dtype)) * rise[i, k])
        out[i, k] = d
    return dx
