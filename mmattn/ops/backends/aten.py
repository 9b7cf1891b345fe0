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


def _per_channel(channel: Tensor | None) -> Tensor | None:
    """``(N, C, 1, 1) -> (N, C, 1)``, beside a map of ``(N, C, P)``."""
    return None if channel is None else channel.flatten(1).unsqueeze(2)


def _per_position(spatial: Tensor | None) -> Tensor | None:
    """``(N, 1, H, W) -> (N, 1, P)``, beside a map of ``(N, C, P)``."""
    return None if spatial is None else spatial.flatten(2)


def _stats_shares(grads: Tensor, ties: Tensor, channels: int) -> tuple[Tensor, Tensor]:
    """What an element gets of the gradients of its position's statistics: as the maximum, and by the mean."""
    flat = grads.flatten(2)
    return flat[:, :1] / ties.flatten(2), flat[:, 1:] / channels


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
    flat, channel = x.flatten(2), _per_channel(channel)
    out = flat.new_empty((x.shape[0], 2, flat.shape[2]), dtype=dtype)
    ties = torch.empty_like(out[:, :1])
    for i, k in _columns(flat):
        piece = flat[i, :, k] if channel is None else flat[i, :, k] * channel[i].to(x.dtype)
        amax = piece.amax(0)
        out[i, 0, k] = amax.to(dtype)
        out[i, 1, k] = piece.mean(0, dtype=dtype)
        ties[i, 0, k] = piece.eq(amax).sum(0).to(dtype)
    return Stats(out.unflatten(2, x.shape[2:]), ties.unflatten(2, x.shape[2:]))


def apply_gates(x: Tensor, gates: Gates) -> Tensor:
    channel, spatial = gates
    if channel is None or spatial is None:
        return x * (spatial if channel is None else channel).to(x.dtype)
    y = torch.empty_like(x)
    flat, out, channel, spatial = x.flatten(2), y.flatten(2), _per_channel(channel), _per_position(spatial)
    for i, k in _rows(flat):
        torch.mul(flat[i, k], channel[i, k].to(x.dtype), out=out[i, k])
        out[i, k].mul_(spatial[i].to(x.dtype))
    return y


def gates_backward(x: Tensor, dy: Tensor, gates: Gates) -> Gates:
    channel, spatial = _per_channel(gates.channel), _per_position(gates.spatial)
    dtype = accurate_dtype(x)
    n, c = x.shape[:2]
    flat, dflat = x.flatten(2), dy.flatten(2)
    dchannel = x.new_empty((n, c) if channel is not None else 0, dtype=dtype)
    dspatial = x.new_zeros((n, flat.shape[2]) if spatial is not None else 0, dtype=dtype)
    for i, k in _rows(flat):
        piece = flat[i, k].to(dtype) * dflat[i, k]
        if spatial is not None:
            dspatial[i] += (piece if channel is None else piece * channel[i, k].to(x.dtype)).sum(0)
        if channel is not None:
            dchannel[i, k] = (piece if spatial is None else piece.mul_(spatial[i].to(x.dtype))).sum(1)
    return Gates(
        dchannel if channel is None else dchannel[..., None, None],
        dspatial if spatial is None else dspatial.unsqueeze(1).unflatten(2, x.shape[2:]),
    )


def stats_backward(x: Tensor, channel: Tensor, dstats: Tensor, stats: Stats) -> Tensor:
    dtype = accurate_dtype(x)
    flat, channel, amax = x.flatten(2), _per_channel(channel), stats.amax_mean.flatten(2)[:, 0].to(x.dtype)
    by_amax, by_mean = _stats_shares(dstats, stats.ties, x.shape[1])
    dchannel = x.new_zeros(x.shape[:2], dtype=dtype)
    for i, k in _columns(flat):
        piece = flat[i, :, k]
        is_amax = (piece * channel[i].to(x.dtype)).eq(amax[i, k])
        dchannel[i] += ((is_amax * by_amax[i, :, k]).add_(by_mean[i, :, k]).mul_(piece)).sum(1)
    return dchannel[..., None, None]


def map_backward(x: Tensor, grads: MapGrads) -> Tensor:
    channel, spatial = _per_channel(grads.channel), _per_position(grads.spatial)
    dtype = accurate_dtype(x)
    dx = torch.empty_like(x)
    flat, out = x.flatten(2), dx.flatten(2)
    dflat = None if grads.dy is None else grads.dy.flatten(2)
    if grads.dstats is not None:
        stats_amax = grads.stats.flatten(2)[:, :1].to(x.dtype)
        by_stats_amax, by_mean = _stats_shares(grads.dstats, grads.stats_ties, x.shape[1])
    by_avg = None if grads.davg is None else _per_channel(grads.davg) / flat.shape[2]
    by_amax = None if grads.damax is None else _per_channel(grads.damax / grads.ties)
    for i, k in _rows(flat):
        piece = flat[i, k]
        channel_gate = None if channel is None else channel[i, k].to(x.dtype)
        d = torch.zeros_like(piece, dtype=dtype) if dflat is None else dflat[i, k].to(dtype, copy=True)
        if spatial is not None:
            d.mul_(spatial[i].to(x.dtype))
        if grads.dstats is not None:
            is_amax = (piece if channel is None else piece * channel_gate).eq(stats_amax[i])
            d.add_(is_amax * by_stats_amax[i]).add_(by_mean[i])
        if channel is not None:
            d.mul_(channel_gate)
        if by_avg is not None:
            d.add_(by_avg[i, k])
        if by_amax is not None:
            d.add_(piece.eq(_per_channel(grads.amax)[i, k].to(x.dtype)) * by_amax[i, k])
        out[i, k] = d
    return dx
