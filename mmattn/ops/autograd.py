"""Autograd of the functions of a map: all gradients of a map are written by one joint backward pass.

In plain PyTorch each use of a map (pooling, statistics, gating) sends back a gradient of the map's size,
and these are summed one by one. Here :func:`enter` returns gradient placeholders: tensors without memory
(all strides 0). Each consumer of the map takes placeholders and, in its backward pass, returns its operands
as their "gradients". So the backward pass of ``enter`` gets all operands and writes the map's one gradient.
docs/lazy_maps.md draws it, with an example of 20 lines.

Each function is an ``autograd.Function``, which costs little in eager mode, and an operator of
``torch.library``, registered when a graph is first captured.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from mmattn._private_apis import assume_constant_result
from mmattn.ops.backends.base import Gates, MapGrads, Pooled, Stats
from mmattn.ops.dispatch import run
from mmattn.ops.precision import accurate_dtype
from mmattn.ops.tensors import in_graph, is_dense, map_format


class GatePlaceholders(NamedTuple):
    """Placeholders for the operands of :func:`apply_gates`' backward pass."""

    dy: Tensor | None
    channel: Tensor | None
    spatial: Tensor | None


class StatsPlaceholders(NamedTuple):
    """Placeholders for the operands of :func:`stats`' backward pass."""

    dstats: Tensor | None
    stats: Tensor | None
    ties: Tensor | None
    channel: Tensor | None


NO_GATE_PLACEHOLDERS = GatePlaceholders(None, None, None)
NO_STATS_PLACEHOLDERS = StatsPlaceholders(None, None, None, None)


class _Operation(NamedTuple):
    """A function as ``torch.library`` takes it."""

    schema: str
    forward: Callable
    fake: Callable
    save: Callable | None = None
    backward: Callable | None = None


_OPERATIONS: dict[str, _Operation] = {}


@functools.lru_cache(None)
def operators_missing_reason() -> str:
    """Register the operators; the reason why this PyTorch cannot, else empty."""
    try:
        for name, each in _OPERATIONS.items():
            operator = torch.library.custom_op(
                f'mmattn::{name}', each.forward, mutates_args=(), schema=each.schema
            )
            operator.register_fake(each.fake)
            if each.backward:
                operator.register_autograd(each.backward, setup_context=each.save)
    except Exception as error:
        return (
            f'torch.library of PyTorch {torch.__version__} cannot register operators: '
            f'{type(error).__name__}: {error}'
        )
    return ''


@assume_constant_result
def _has_operators() -> bool:
    return not operators_missing_reason()


class _NotTwice(torch.autograd.Function):
    """The identity, whose derivative is an error."""

    @staticmethod
    def forward(ctx, *tensors):
        return tensors

    @staticmethod
    def backward(ctx, *grads):
        raise RuntimeError(
            'mmattn: attention cannot be differentiated twice in this way; set MMATTN_OPS=plain'
        )


def _refuse_to_differentiate(gradients: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
    """The gradients, of which no derivative can be taken; ``once_differentiable`` lets constant ones pass."""
    made = [t.detach().requires_grad_() for t in gradients if t is not None]
    refused = iter(_NotTwice.apply(*made) if made else ())
    return tuple(t if t is None else next(refused) for t in gradients)


def eager_function(name: str, forward: Callable, save: Callable, backward: Callable) -> Callable:
    """``forward`` with the derivative ``backward``, which cannot be differentiated again."""

    def forward_and_save(ctx, *args):  # a setup_context would cost a look at the signature in each call
        output = forward(*args)
        save(ctx, args, output)
        return output

    def backward_once(ctx, *grads):
        with torch.no_grad():
            out = backward(ctx, *grads)
        return _refuse_to_differentiate(out) if torch.is_grad_enabled() else out

    function = type(
        name,
        (torch.autograd.Function,),
        dict(forward=staticmethod(forward_and_save), backward=staticmethod(backward_once)),
    )

    def call(*args):
        return function.apply(*args) if torch.is_grad_enabled() else forward(*args)

    call.__name__ = name
    return call


def _differentiable(
    name: str, schema: str, forward: Callable, fake: Callable, save: Callable, backward: Callable
) -> Callable:
    """``forward`` with the derivative ``backward``: in a graph as an operator, else as a Function."""
    _OPERATIONS[name] = _Operation(schema, forward, fake, save, backward)
    eager = eager_function(name, forward, save, backward)

    def call(*args):
        if in_graph(args[0]) and _has_operators():
            return getattr(torch.ops.mmattn, name)(*args)
        return eager(*args)

    call.__name__ = name
    return call


def _without_derivative(name: str, schema: str, forward: Callable, fake: Callable) -> Callable:
    """``forward``, in a graph as an operator."""
    _OPERATIONS[name] = _Operation(schema, forward, fake)

    def call(*args):
        if in_graph(args[0]) and _has_operators():
            return getattr(torch.ops.mmattn, name)(*args)
        return forward(*args)

    call.__name__ = name
    return call


def _dense(x: Tensor) -> Tensor:
    """The map without gaps: a compiler may lay it out in another way than it was when it was traced."""
    return x if is_dense(x) else x.contiguous()


def _laid_out_as(x: Tensor, dy: Tensor | None) -> Tensor | None:
    return None if dy is None else dy.contiguous(memory_format=map_format(x))


def _per_channel(x: Tensor, wanted: bool = True) -> Tensor:
    return x.new_empty((*x.shape[:2], 1, 1) if wanted else (0,), dtype=accurate_dtype(x))


def _per_position(x: Tensor, rows: int = 1, wanted: bool = True) -> Tensor:
    return x.new_empty((x.shape[0], rows, *x.shape[2:]) if wanted else (0,), dtype=accurate_dtype(x))


# Functions without a derivative. Operators take flat arguments: each `_..._flat` unpacks them by name.


def _pool_flat(x, with_amax, backend):
    return tuple(run('pool', backend, _dense(x), with_amax))


def _gates_backward_flat(x, dy, channel, spatial, backend):
    x = _dense(x)
    return tuple(run('gates_backward', backend, x, _laid_out_as(x, dy), Gates(channel, spatial)))


def _stats_backward_flat(x, channel, dstats, stats, ties, backend):
    return run('stats_backward', backend, _dense(x), channel, dstats, Stats(stats, ties))


def _map_backward_flat(x, *grads_and_backend):
    *grads, backend = grads_and_backend
    grads, x = MapGrads(*grads), _dense(x)
    return run('map_backward', backend, x, grads._replace(dy=_laid_out_as(x, grads.dy)))


_pool = _without_derivative(
    'pool',
    '(Tensor x, bool with_amax, str backend) -> (Tensor, Tensor, Tensor)',
    _pool_flat,
    lambda x, with_amax, backend: (_per_channel(x), _per_channel(x, with_amax), _per_channel(x, with_amax)),
)
_gates_backward = _without_derivative(
    'gates_backward',
    '(Tensor x, Tensor dy, Tensor? channel, Tensor? spatial, str backend) -> (Tensor, Tensor)',
    _gates_backward_flat,
    lambda x, dy, channel, spatial, backend: (
        _per_channel(x, channel is not None),
        _per_position(x, 1, spatial is not None),
    ),
)
_stats_backward = _without_derivative(
    'stats_backward',
    '(Tensor x, Tensor channel, Tensor dstats, Tensor stats, Tensor ties, str backend) -> Tensor',
    _stats_backward_flat,
    lambda x, channel, dstats, stats, ties, backend: _per_channel(x),
)
_map_backward_operator = _without_derivative(
    'map_backward',
    f'(Tensor x, {", ".join(f"Tensor? {field}" for field in MapGrads._fields)}, str backend) -> Tensor',
    _map_backward_flat,
    lambda x, *rest: torch.empty_like(x),
)


def pool(x: Tensor, with_amax: bool, backend: str) -> Pooled:
    """See :meth:`mmattn.ops.backends.base.Backend.pool`; without a derivative."""
    avg, amax, ties = _pool(x, with_amax, backend)
    return Pooled(avg, amax, ties)


def _map_backward(x: Tensor, grads: MapGrads, backend: str) -> Tensor:
    return _map_backward_operator(x, *grads, backend)


def placeholders(x: Tensor) -> tuple[Tensor, ...]:
    """Tensors of the shapes and dtypes that autograd asks of the operands, without memory."""
    n, c, h, w = x.shape
    dtype = accurate_dtype(x)

    def of(*shape, dtype=dtype):
        return x.new_empty_strided(shape, (0, 0, 0, 0), dtype=dtype)

    for_gates = GatePlaceholders(
        dy=of(n, c, h, w, dtype=x.dtype), channel=of(n, c, 1, 1), spatial=of(n, 1, h, w)
    )
    for_stats = StatsPlaceholders(
        dstats=of(n, 2, h, w), stats=of(n, 2, h, w), ties=of(n, 1, h, w), channel=of(n, c, 1, 1)
    )
    return (*for_gates, *for_stats)


def _enter_forward(x: Tensor, pooling: str, backend: str) -> tuple[Tensor, ...]:
    if pooling:
        pooled = _pool_flat(x, 'max' in pooling, backend)
    else:
        pooled = tuple(_per_channel(x, False) for _ in range(3))
    return (*pooled, *placeholders(x))


def _enter_fake(x: Tensor, pooling: str, backend: str) -> tuple[Tensor, ...]:
    with_amax = 'max' in pooling
    pooled = _per_channel(x, bool(pooling)), _per_channel(x, with_amax), _per_channel(x, with_amax)
    return (*pooled, *placeholders(x))


def _enter_save(ctx, inputs, output) -> None:
    x, ctx.pooling, ctx.backend = inputs
    _, amax, ties, *_ = output
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(ties)
    ctx.save_for_backward(x, amax, ties)


def map_grads(
    pooling: str,
    davg: Tensor | None,
    damax: Tensor | None,
    amax: Tensor,
    ties: Tensor,
    for_gates: GatePlaceholders,
    for_stats: StatsPlaceholders,
) -> MapGrads | None:
    """The operands of the joint backward pass; ``None`` if no use of the map has a gradient."""
    if 'max' not in pooling:
        damax = None
    if not pooling:
        davg = None
    if all(t is None for t in (davg, damax, for_gates.dy, for_stats.dstats)):
        return None
    return MapGrads(
        dy=for_gates.dy,
        # the same, if both are there
        channel=for_stats.channel if for_gates.channel is None else for_gates.channel,
        spatial=for_gates.spatial,
        davg=davg,
        damax=damax,
        amax=None if damax is None else amax,
        ties=None if damax is None else ties,
        dstats=for_stats.dstats,
        stats=for_stats.stats,
        stats_ties=for_stats.ties,
    )


def _enter_backward(ctx, davg, damax, _, dy, channel, spatial, dstats, stats, stats_ties, stats_channel):
    x, amax, ties = ctx.saved_tensors
    for_gates = GatePlaceholders(dy, channel, spatial)
    for_stats = StatsPlaceholders(dstats, stats, stats_ties, stats_channel)
    grads = map_grads(ctx.pooling, davg, damax, amax, ties, for_gates, for_stats)
    if grads is None:
        return None, None, None
    return _map_backward(x, grads, ctx.backend), None, None


_enter = _differentiable(
    'enter',
    '(Tensor x, str pooling, str backend) -> (' + ', '.join(['Tensor'] * 10) + ')',
    _enter_forward,
    _enter_fake,
    _enter_save,
    _enter_backward,
)


def enter(x: Tensor, pooling: str, backend: str) -> tuple[Pooled, GatePlaceholders, StatsPlaceholders]:
    """Let a map into the joint backward pass, and pool it.

    Args:
        x: The map.
        pooling: ``''`` (none), ``'avg'`` (the mean) or ``'avg max'``.
        backend: Name of the backend.
    """
    avg, amax, ties, dy, channel, spatial, dstats, stats, stats_ties, stats_channel = _enter(
        x, pooling, backend
    )
    return (
        Pooled(avg, amax, ties),
        GatePlaceholders(dy, channel, spatial),
        StatsPlaceholders(dstats, stats, stats_ties, stats_channel),
    )


def _stats_forward(x, channel, to_dstats, to_stats, to_ties, to_channel, backend):
    return tuple(run('stats', backend, _dense(x), channel))


def _stats_save(ctx, inputs, output) -> None:
    x, channel, to_dstats, _, _, _, ctx.backend = inputs
    amax_mean, ties = output
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(ties)
    ctx.has_placeholders = to_dstats is not None and to_dstats.requires_grad
    ctx.save_for_backward(x, channel, amax_mean, ties)


def _stats_derivative(ctx, dstats, _):
    x, channel, stats, ties = ctx.saved_tensors
    if dstats is None:
        return (None,) * 7
    dchannel = dx = None
    if channel is not None and ctx.needs_input_grad[1]:
        dchannel = _stats_backward(x, channel, dstats, stats, ties, ctx.backend).to(channel.dtype)
    to = NO_STATS_PLACEHOLDERS
    if ctx.has_placeholders:
        to = StatsPlaceholders(
            dstats=dstats,
            stats=stats,
            ties=ties,
            channel=None if channel is None else channel.to(stats.dtype),
        )
    elif ctx.needs_input_grad[0]:
        grads = MapGrads(channel=channel, dstats=dstats, stats=stats, stats_ties=ties)
        dx = _map_backward(x, grads, ctx.backend)
    return dx, dchannel, *to, None


_stats = _differentiable(
    'stats',
    '(Tensor x, Tensor? channel, Tensor? to_dstats, Tensor? to_stats, Tensor? to_ties, Tensor? to_channel, '
    'str backend) -> (Tensor, Tensor)',
    _stats_forward,
    lambda x, *rest: (_per_position(x, 2), _per_position(x)),
    _stats_save,
    _stats_derivative,
)


def stats(x: Tensor, channel: Tensor | None, placeholders: StatsPlaceholders, backend: str) -> Tensor:
    """Maximum and mean over the channels of ``x * channel``: ``(N, 2, H, W)``."""
    amax_mean, _ = _stats(x, channel, *placeholders, backend)
    return amax_mean


def _apply_gates_forward(x, channel, spatial, to_dy, to_channel, to_spatial, backend):
    return run('apply_gates', backend, _dense(x), Gates(channel, spatial))


def _apply_gates_save(ctx, inputs, output) -> None:
    x, channel, spatial, to_dy, _, _, ctx.backend = inputs
    ctx.set_materialize_grads(False)
    ctx.has_placeholders = to_dy is not None and to_dy.requires_grad
    ctx.save_for_backward(x, channel, spatial)


def _apply_gates_derivative(ctx, dy):
    x, channel, spatial = ctx.saved_tensors
    if dy is None:
        return (None,) * 7
    dy = dy.contiguous(memory_format=map_format(x))
    _, wants_channel, wants_spatial, *_ = ctx.needs_input_grad
    wants_channel = wants_channel and channel is not None
    wants_spatial = wants_spatial and spatial is not None
    dchannel = dspatial = dx = None
    if wants_channel or wants_spatial:
        dchannel, dspatial = _gates_backward(x, dy, channel, spatial, ctx.backend)
    to = NO_GATE_PLACEHOLDERS
    if ctx.has_placeholders:
        dtype = accurate_dtype(x)
        to = GatePlaceholders(
            dy=dy,
            channel=None if channel is None else channel.to(dtype),
            spatial=None if spatial is None else spatial.to(dtype),
        )
    elif ctx.needs_input_grad[0]:
        dx = _map_backward(x, MapGrads(dy=dy, channel=channel, spatial=spatial), ctx.backend)
    return (
        dx,
        dchannel.to(channel.dtype) if wants_channel else None,
        dspatial.to(spatial.dtype) if wants_spatial else None,
        *to,
        None,
    )


_apply_gates = _differentiable(
    'apply_gates',
    '(Tensor x, Tensor? channel, Tensor? spatial, Tensor? to_dy, Tensor? to_channel, Tensor? to_spatial, '
    'str backend) -> Tensor',
    _apply_gates_forward,
    lambda x, *rest: torch.empty_like(x),
    _apply_gates_save,
    _apply_gates_derivative,
)


def apply_gates(x: Tensor, gates: Gates, placeholders: GatePlaceholders, backend: str) -> Tensor:
    """``(x * channel) * spatial``."""
    return _apply_gates(x, *gates, *placeholders, backend)
