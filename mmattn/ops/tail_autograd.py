"""Autograd of the tail of a residual block: its gradients are written by one joint backward pass.

As :mod:`mmattn.ops.autograd` does it for a map: what the backward pass of a function gets beside gradients,
it gets through placeholders.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mmattn.ops.autograd import (
    GatePlaceholders,
    StatsPlaceholders,
    eager_function,
    map_grads,
    placeholders,
)
from mmattn.ops.backends.base import Gates, MapGrads, Stats
from mmattn.ops.dispatch import run_tail
from mmattn.ops.precision import accurate_dtype
from mmattn.ops.tensors import map_format


def _enter_forward(z, weight, bias, affine, pooling, backend):
    if pooling:
        pooled, z_avg = run_tail('pool', backend, z, affine, 'max' in pooling)
    else:
        pooled, z_avg = (z.new_empty(0, dtype=accurate_dtype(z)) for _ in range(3)), None
    sums = z.new_empty((), dtype=accurate_dtype(z)).expand(2, *z.shape[:2])
    return (*pooled, *placeholders(z), sums, z_avg)


def _enter_save(ctx, inputs, output) -> None:
    z, weight, bias, affine, ctx.pooling, ctx.backend = inputs
    _, amax, ties, *_, z_avg = output
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(ties, *(() if z_avg is None else (z_avg,)))
    ctx.dtypes = tuple(None if t is None else t.dtype for t in (weight, bias))
    ctx.save_for_backward(z, affine, amax, ties, z_avg)


def _enter_backward(
    ctx, davg, damax, _, d, channel, spatial, dstats, stats, stats_ties, stats_channel, sums, __
):
    z, affine, amax, ties, z_avg = ctx.saved_tensors
    none = (None,) * 3
    for_gates = GatePlaceholders(d, channel, spatial)
    for_stats = StatsPlaceholders(dstats, stats, stats_ties, stats_channel)
    grads = map_grads(ctx.pooling, davg, damax, amax, ties, for_gates, for_stats)
    if grads is None:
        return None, None, None, *none
    wants_z, *wants_norm = ctx.needs_input_grad[:3]
    # Without maxima and statistics, sums of the earlier pass are enough.
    known = grads.damax is None and dstats is None and (d is None or sums is not None)
    dz, dx_sums = (
        run_tail('map_backward', ctx.backend, z, affine, grads, any(wants_norm) and not known)
        if wants_z or not known
        else (None, None)
    )
    if any(wants_norm) and known:
        dx_sums = _sums_of_dx(grads, sums, z_avg, affine)
    dnorm = [None, None]
    if any(wants_norm):
        by_bias, by_weight = dx_sums
        made = (by_weight * affine[3], by_bias)
        dnorm = [g.to(dtype) if wants else None for g, dtype, wants in zip(made, ctx.dtypes, wants_norm)]
    return dz, *dnorm, *none


def _sums_of_dx(grads: MapGrads, sums: Tensor | None, z_avg: Tensor | None, affine: Tensor) -> Tensor:
    """Sums over images and positions of the gradient of the normalised map, and of it times ``z - mean``."""
    total = 0
    if sums is not None:
        total = sums if grads.channel is None else sums * grads.channel.flatten(1)
    if grads.davg is not None:
        centred = z_avg.flatten(1) - affine[2]
        total = total + torch.stack([torch.ones_like(centred), centred]) * grads.davg.flatten(1)
    return total.sum(1)


enter = eager_function('tail_enter', _enter_forward, _enter_save, _enter_backward)


def _stats_forward(z, affine, channel, to_dstats, to_stats, to_ties, to_channel, backend):
    return tuple(run_tail('stats', backend, z, affine, channel))


def _stats_save(ctx, inputs, output) -> None:
    z, affine, channel, to_dstats, _, _, _, ctx.backend = inputs
    amax_mean, ties = output
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(ties)
    ctx.save_for_backward(z, affine, channel, amax_mean, ties)


def _stats_backward(ctx, dstats, _):
    z, affine, channel, stats, ties = ctx.saved_tensors
    none = (None,) * 8
    if dstats is None:
        return none
    dchannel = None
    if channel is not None and ctx.needs_input_grad[2]:
        dchannel = run_tail('stats_backward', ctx.backend, z, affine, channel, dstats, Stats(stats, ties)).to(
            channel.dtype
        )
    to = StatsPlaceholders(None, None, None, None)
    if ctx.needs_input_grad[3]:
        to = StatsPlaceholders(dstats, stats, ties, None if channel is None else channel.to(stats.dtype))
    return None, None, dchannel, *to, None


stats = eager_function('tail_stats', _stats_forward, _stats_save, _stats_backward)


def _tail_forward(z, affine, channel, spatial, identity, *placeholders_in_place_backend):
    *_, in_place, backend = placeholders_in_place_backend
    return run_tail('tail', backend, z, affine, Gates(channel, spatial), identity, in_place)


def _tail_save(ctx, inputs, out) -> None:
    z, affine, channel, spatial, _, to_d, _, _, to_sums, _, ctx.backend = inputs
    ctx.set_materialize_grads(False)
    ctx.wants_sums = to_sums is not None
    ctx.save_for_backward(z, affine, channel, spatial, out)


def _tail_backward(ctx, dout):
    z, affine, channel, spatial, out = ctx.saved_tensors
    if dout is None:
        return (None,) * 11
    _, _, wants_channel, wants_spatial, wants_identity, has_placeholders, *_ = ctx.needs_input_grad
    made = run_tail(
        'backward',
        ctx.backend,
        z,
        affine,
        Gates(channel, spatial),
        out,
        dout.contiguous(memory_format=map_format(z)),
        wants_identity or has_placeholders,
        ctx.wants_sums,
    )
    to, to_sums = GatePlaceholders(None, None, None), None
    if has_placeholders:
        dtype = accurate_dtype(z)
        to = GatePlaceholders(made.d, *(None if t is None else t.to(dtype) for t in (channel, spatial)))
        to_sums = made.sums
    return (
        None,
        None,
        made.gates.channel.to(channel.dtype) if wants_channel and channel is not None else None,
        made.gates.spatial.to(spatial.dtype) if wants_spatial and spatial is not None else None,
        made.d if wants_identity else None,
        *to,
        to_sums,
        None,
        None,
    )


tail = eager_function('tail', _tail_forward, _tail_save, _tail_backward)
