"""The tail of a residual block in C: see :class:`~mmattn.ops.backends.base.TailBackend`."""

from __future__ import annotations

import torch
from torch import Tensor

from mmattn.ops.backends.base import Gates, TailGrads
from mmattn.ops.backends.cpu import _call, _flat, _new, _sizes
from mmattn.ops.backends.cpu import map_backward_norm as map_backward
from mmattn.ops.backends.cpu import pool_norm as pool
from mmattn.ops.backends.cpu import stats_backward_norm as stats_backward
from mmattn.ops.backends.cpu import stats_norm as stats

__all__ = ['backward', 'map_backward', 'norm_affine', 'pool', 'stats', 'stats_backward', 'tail']


def norm_affine(z: Tensor, norm: tuple) -> Tensor:
    *tensors, eps = norm
    affine = _new(z, (4, z.shape[1]))
    _call('norm_affine', z, *_flat(*tensors), eps, z.shape[1], affine)
    return affine


def tail(z: Tensor, affine: Tensor | None, gates: Gates, identity: Tensor, in_place: bool) -> Tensor:
    out = z if in_place else torch.empty_like(z)
    _call('tail', z, z, affine, *_flat(*gates), identity, *_sizes(z), out)
    return out


def backward(
    z: Tensor,
    affine: Tensor | None,
    gates: Gates,
    out: Tensor,
    dout: Tensor,
    wants_d: bool,
    wants_sums: bool,
) -> TailGrads:
    n, c, h, w = z.shape
    d = torch.empty_like(z) if wants_d else None
    dchannel = None if gates.channel is None else _new(z, (n, c, 1, 1))
    dspatial = None if gates.spatial is None else _new(z, (n, 1, h, w))
    sums = _new(z, (2, n, c)) if wants_sums else None
    small = _flat(*gates)
    _call('tail_backward', z, dout, out, z, affine, *small, n, c, h * w, d, dchannel, dspatial, sums)
    return TailGrads(d, Gates(dchannel, dspatial), sums)
