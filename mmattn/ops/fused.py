"""The differentiable functions of a map whose backward passes are joined.

In plain PyTorch each use of a map (pooling, statistics, gating) sends back a gradient of the map's size, and
these are summed, one by one. Here the map goes in once, through :data:`enter`, which hands out *relays*:
tensors without memory that stand for the map in the graph. What uses the map takes a relay beside it, and
sends back, as the relay's "gradient", not a gradient but what is needed to write it: for a gate, the output's
gradient and the gates. The backward pass of :data:`enter` gets all of that and writes the map's gradient in
one pass.

Each is both an ``autograd.Function``, which costs little in eager mode, and, while a graph is captured, a
custom operator of ``torch.library``.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from mmattn.ops.passes import map_format, run
from mmattn.ops.precision import accurate_dtype
from mmattn.ops.switch import in_graph


def _operator(name: str, schema: str, forward: Callable, fake: Callable) -> torch.library.CustomOpDef:
    operator = torch.library.custom_op(f'mmattn::{name}', forward, mutates_args=(), schema=schema)
    operator.register_fake(fake)
    return operator


def _refuse_to_differentiate(gradients: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
    """The same, from which no derivative can be taken; ``once_differentiable`` lets constant ones pass."""
    made = [t.detach().requires_grad_() for t in gradients if t is not None]
    if not made:
        return gradients
    refused = torch._C._functions.DelayedError(
        b'mmattn: attention cannot be differentiated twice in this way; set MMATTN_OPS=plain', len(made)
    )(*made)
    refused = iter(refused if isinstance(refused, tuple) else (refused,))
    return tuple(t if t is None else next(refused) for t in gradients)


def _differentiable(
    name: str, schema: str, forward: Callable, fake: Callable, save: Callable, backward: Callable
) -> Callable:
    """``forward`` with the derivative ``backward``: in a graph as an operator, else as a Function."""
    operator = _operator(name, schema, forward, fake)
    operator.register_autograd(backward, setup_context=save)

    def forward_and_save(
        ctx, *args
    ):  # a setup_context of its own would cost a look at the signature in each call
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
        if in_graph(args[0]):
            return operator(*args)
        return function.apply(*args) if torch.is_grad_enabled() else forward(*args)

    call.__name__ = name
    return call


def _pass(name: str, schema: str, fake: Callable) -> Callable:
    """A pass that has no derivative: in a graph as an operator."""

    def forward(*args):
        return run(name, *args)

    operator = _operator(name, schema, forward, fake)

    def call(*args):
        return operator(*args) if in_graph(args[0] if args[0] is not None else args[1]) else run(name, *args)

    return call


def _channels(x: Tensor, wanted: bool = True) -> Tensor:
    return x.new_empty((*x.shape[:2], 1, 1) if wanted else (0,), dtype=accurate_dtype(x))


def _positions(x: Tensor, rows: int = 1, wanted: bool = True) -> Tensor:
    return x.new_empty((x.shape[0], rows, *x.shape[2:]) if wanted else (0,), dtype=accurate_dtype(x))


pool = _pass(
    'pool',
    '(Tensor x, bool peaks, str how) -> (Tensor, Tensor, Tensor)',
    lambda x, peaks, how: (_channels(x), _channels(x, peaks), _channels(x, peaks)),
)
_gate_backward = _pass(
    'gate_backward',
    '(Tensor dy, Tensor x, Tensor? g, Tensor? s, str how) -> (Tensor, Tensor)',
    lambda dy, x, g, s, how: (_channels(x, g is not None), _positions(x, 1, s is not None)),
)
_stats_backward = _pass(
    'stats_backward',
    '(Tensor x, Tensor g, Tensor dstats, Tensor stats, Tensor count, str how) -> Tensor',
    lambda x, g, dstats, stats, count, how: _channels(x),
)
_map_backward = _pass(
    'map_backward',
    '(Tensor? dy, Tensor x, Tensor? g, Tensor? s, Tensor? davg, Tensor? dmax, Tensor? max, Tensor? number, '
    'Tensor? dstats, Tensor? stats, Tensor? count, str how) -> Tensor',
    lambda dy, x, *rest: torch.empty_like(x),
)


# enter(x, pool, how) -> mean, max, its number, and the relays: of dy, g, s, and of dstats, stats, count, g.
# pool: '' (nothing), 'avg' (the mean) or 'avg max'.


def _relays(x: Tensor) -> tuple[Tensor, ...]:
    """Tensors of the right shape and dtype, which is what autograd asks for, and no memory."""
    n, c, h, w = x.shape
    dtype = accurate_dtype(x)

    def of(*shape, dtype=dtype):
        return x.new_empty((), dtype=dtype).expand(shape)

    return (
        of(n, c, h, w, dtype=x.dtype),
        of(n, c, 1, 1),
        of(n, 1, h, w),
        of(n, 2, h, w),
        of(n, 2, h, w),
        of(n, 1, h, w),
        of(n, c, 1, 1),
    )


def _enter(x: Tensor, pool: str, how: str) -> tuple[Tensor, ...]:
    pooled = run('pool', x, 'max' in pool, how) if pool else (_channels(x, False) for _ in range(3))
    return (*pooled, *_relays(x))


def _enter_fake(x: Tensor, pool: str, how: str) -> tuple[Tensor, ...]:
    return (_channels(x, bool(pool)), _channels(x, 'max' in pool), _channels(x, 'max' in pool), *_relays(x))


def _enter_save(ctx, inputs, output) -> None:
    x, ctx.pool, ctx.how = inputs
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(output[2])
    ctx.save_for_backward(x, output[1], output[2])


def _enter_backward(ctx, davg, dmax, _, dy, g, s, dstats, stats, count, g_of_stats):
    x, peak, number = ctx.saved_tensors
    if 'max' not in ctx.pool:
        dmax = None
    if not ctx.pool:
        davg = None
    if all(t is None for t in (davg, dmax, dy, dstats)):
        return None, None, None
    if dmax is None:
        peak = number = None
    g = g_of_stats if g is None else g  # the same, if both are there
    return _map_backward(dy, x, g, s, davg, dmax, peak, number, dstats, stats, count, ctx.how), None, None


enter = _differentiable(
    'enter',
    '(Tensor x, str pool, str how) -> (' + ', '.join(['Tensor'] * 10) + ')',
    _enter,
    _enter_fake,
    _enter_save,
    _enter_backward,
)


# stats(x, g, relays of dstats, stats, count, g, how) -> (N, 2, H, W), count


def _stats(x, g, to_dstats, to_stats, to_count, to_g, how):
    return run('stats', x, g, how)


def _stats_save(ctx, inputs, output) -> None:
    x, g, *_, ctx.how = inputs
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(output[1])
    ctx.relayed = inputs[2] is not None and inputs[2].requires_grad
    ctx.save_for_backward(x, g, *output)


def _stats_backward_all(ctx, dstats, _):
    x, g, stats, count = ctx.saved_tensors
    if dstats is None:
        return (None,) * 7
    dg = (
        _stats_backward(x, g, dstats, stats, count, ctx.how)
        if g is not None and ctx.needs_input_grad[1]
        else None
    )
    relayed = (dstats, stats, count, None if g is None else g.to(stats.dtype)) if ctx.relayed else (None,) * 4
    dx = None
    if not ctx.relayed and ctx.needs_input_grad[0]:  # nobody else will write it
        dx = _map_backward(None, x, g, None, None, None, None, None, dstats, stats, count, ctx.how)
    return dx, None if dg is None else dg.to(g.dtype), *relayed, None


stats = _differentiable(
    'stats',
    '(Tensor x, Tensor? g, Tensor? to_dstats, Tensor? to_stats, Tensor? to_count, Tensor? to_g, str how) '
    '-> (Tensor, Tensor)',
    _stats,
    lambda x, g, to_dstats, to_stats, to_count, to_g, how: (_positions(x, 2), _positions(x)),
    _stats_save,
    _stats_backward_all,
)


# gate(x, g, s, relays of dy, g, s, how) -> (x * g) * s


def _gate(x, g, s, to_dy, to_g, to_s, how):
    return run('gate', x, g, s, how)


def _gate_save(ctx, inputs, output) -> None:
    x, g, s, to_dy, _, _, ctx.how = inputs
    ctx.set_materialize_grads(False)
    ctx.relayed = to_dy is not None and to_dy.requires_grad
    ctx.save_for_backward(x, g, s)


def _gate_backward_all(ctx, dy):
    x, g, s = ctx.saved_tensors
    if dy is None:
        return (None,) * 7
    dy = dy.contiguous(memory_format=map_format(x))
    want_g, want_s = (gate is not None and need for gate, need in zip((g, s), ctx.needs_input_grad[1:3]))
    dg = ds = None
    if want_g or want_s:
        dg, ds = _gate_backward(dy, x, g, s, ctx.how)
    dtype = accurate_dtype(x)
    relayed = (dy, None if g is None else g.to(dtype), None if s is None else s.to(dtype))
    dx = None
    if not ctx.relayed and ctx.needs_input_grad[0]:
        dx = _map_backward(dy, x, g, s, *(None,) * 7, ctx.how)
    return (
        dx,
        dg.to(g.dtype) if want_g else None,
        ds.to(s.dtype) if want_s else None,
        *(relayed if ctx.relayed else (None,) * 3),
        None,
    )


gate = _differentiable(
    'gate',
    '(Tensor x, Tensor? g, Tensor? s, Tensor? to_dy, Tensor? to_g, Tensor? to_s, str how) -> Tensor',
    _gate,
    lambda x, *rest: torch.empty_like(x),
    _gate_save,
    _gate_backward_all,
)
