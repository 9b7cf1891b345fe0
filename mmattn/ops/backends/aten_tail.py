"""The tail of a residual block by PyTorch calls, step by step: what computes it if Triton fails."""

from __future__ import annotations

import torch
from torch import Tensor

from mmattn.ops.backends import aten
from mmattn.ops.backends.base import Gates, MapGrads, Pooled, Stats, TailGrads
from mmattn.ops.precision import accurate_dtype


def _row(affine: Tensor, index: int) -> Tensor:
    return affine[index, :, None, None]


def _normed(z: Tensor, affine: Tensor | None) -> Tensor:
    return z if affine is None else (z * _row(affine, 0) + _row(affine, 1)).to(z.dtype)


@torch.no_grad()
def norm_affine(z: Tensor, norm: tuple) -> Tensor:
    weight, bias, mean, var, eps = norm
    inv_std = 1 / (var + eps).sqrt()
    scale = inv_std if weight is None else inv_std * weight
    shift = -mean * scale if bias is None else bias - mean * scale
    return torch.stack([scale, shift, mean, inv_std]).to(accurate_dtype(z))


def pool(z: Tensor, affine: Tensor | None, with_amax: bool) -> tuple[Pooled, Tensor | None]:
    z_avg = None if affine is None else z.mean((2, 3), keepdim=True, dtype=accurate_dtype(z))
    return aten.pool(_normed(z, affine), with_amax), z_avg


def stats(z: Tensor, affine: Tensor | None, channel: Tensor | None) -> Stats:
    return aten.stats(_normed(z, affine), channel)


def tail(z: Tensor, affine: Tensor | None, gates: Gates, identity: Tensor, in_place: bool) -> Tensor:
    x = _normed(z, affine)
    x = x if gates == (None, None) else aten.apply_gates(x, gates)
    return torch.add(x, identity, out=z if in_place else None).relu_()


def backward(
    z: Tensor,
    affine: Tensor | None,
    gates: Gates,
    out: Tensor,
    dout: Tensor,
    wants_d: bool,
    wants_sums: bool,
) -> TailGrads:
    d = torch.where(out > 0, dout, torch.zeros_like(dout))
    dgates = gates
    if gates != (None, None):
        dgates = aten.gates_backward(_normed(z, affine), d, gates)
    sums = None
    if wants_sums:
        wide = d.to(accurate_dtype(z))
        sums = torch.stack([wide.sum((2, 3)), (wide * (z - _row(affine, 2))).sum((2, 3))])
    return TailGrads(d if wants_d else None, dgates, sums)


def stats_backward(z: Tensor, affine: Tensor | None, channel: Tensor, dstats: Tensor, stats: Stats) -> Tensor:
    return aten.stats_backward(_normed(z, affine), channel, dstats, stats)


def map_backward(
    z: Tensor, affine: Tensor | None, grads: MapGrads, wants_sums: bool
) -> tuple[Tensor, Tensor | None]:
    dx = aten.map_backward(_normed(z, affine), grads)
    sums = None
    if wants_sums:
        wide = dx.to(accurate_dtype(z))
        sums = torch.stack([wide.sum((0, 2, 3)), (wide * (z - _row(affine, 2))).sum((0, 2, 3))])
    return dx if affine is None else (dx * _row(affine, 0)).to(z.dtype), sums
