"""The tail of a residual block by Triton kernels: see :class:`~mmattn.ops.backends.base.TailBackend`."""

from __future__ import annotations

import torch
from torch import Tensor

from mmattn.ops.backends.aten_tail import norm_affine
from mmattn.ops.backends.base import Gates, TailGrads
from mmattn.ops.backends.triton import WIDTH, _flat, _Map, _plan_elements, _plan_reduction
from mmattn.ops.backends.triton import map_backward_norm as map_backward
from mmattn.ops.backends.triton import pool_norm as pool
from mmattn.ops.backends.triton import stats_backward_norm as stats_backward
from mmattn.ops.backends.triton import stats_norm as stats

__all__ = ['backward', 'map_backward', 'norm_affine', 'pool', 'stats', 'stats_backward', 'tail']


def tail(z: Tensor, affine: Tensor | None, gates: Gates, identity: Tensor, in_place: bool) -> Tensor:
    on = _Map(z)
    out = z if in_place else torch.empty_like(z)
    grid, integers, constants = _plan_elements(on.sizes)
    small = (affine, *_flat(*gates))
    on.launch(
        'tail',
        grid,
        z,
        *(z if t is None else t for t in small),
        identity,
        out,
        *integers,
        HAS_NORM=affine is not None,
        HAS_CHANNEL=gates.channel is not None,
        HAS_SPATIAL=gates.spatial is not None,
        **constants,
    )
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
    on = _Map(z)
    n, c, h, w = z.shape
    grid, integers, constants = _plan_reduction(on.sizes, False, WIDTH if on.sizes.dense else 32)
    along_p, splits = grid[0] // n, grid[1]
    d = torch.empty_like(z) if wants_d else None
    dchannel = None if gates.channel is None else on.new(n, along_p, c)
    dspatial = None if gates.spatial is None else on.new(n, splits, h * w)
    sums = on.new(2, n, along_p, c) if wants_sums else None
    small = (affine, *_flat(*gates), d, dchannel, dspatial, sums)
    on.launch(
        'tail_backward',
        grid,
        dout,
        out,
        z,
        *(z if t is None else t for t in small),
        *integers,
        HAS_NORM=affine is not None,
        HAS_CHANNEL=gates.channel is not None,
        HAS_SPATIAL=gates.spatial is not None,
        WITH_D=wants_d,
        WITH_SUMS=wants_sums,
        **constants,
    )
    if dchannel is not None:
        dchannel = on.sum_parts(dchannel).view(n, c, 1, 1)
    if dspatial is not None:
        dspatial = on.sum_parts(dspatial).view(n, 1, h, w)
    return TailGrads(d, Gates(dchannel, dspatial), None if sums is None else on.sum_parts(sums))
