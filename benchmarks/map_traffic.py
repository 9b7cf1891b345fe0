"""Count how often a block reads or writes a whole map, in the forward and the backward pass.

For PyTorch's eager mode, inputs and outputs of each operation are counted; for ours, the calls of backends.
"""

from contextlib import contextmanager
from unittest import mock

import torch

from mmattn._private_apis import TorchDispatchMode

# How many maps each function of a backend reads and writes. ``map_backward`` reads the map itself only to
# find its maxima.
READS = dict(pool=1, stats=1, apply_gates=1, gates_backward=2, stats_backward=1)
WRITES = dict(apply_gates=1, map_backward=1)


class _Eager(TorchDispatchMode):
    """Count map-sized inputs and outputs of operations that are no views."""

    def __init__(self, numel):
        super().__init__()
        self.numel, self.transfers = numel, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if not func.is_view and func not in (
            torch.ops.aten.detach.default,
            torch.ops.aten.new_empty_strided.default,
            torch.ops.aten.empty_like.default,
        ):
            # A tensor that is expanded from a small one is read from the cache.
            read = {id(t) for t in _tensors(args) if t.numel() == self.numel and self._has_memory(t)}
            written = {id(t) for t in _tensors(out) if t.numel() == self.numel}
            self.transfers += len(read) + len(written)
        return out

    def _has_memory(self, t):
        return t.untyped_storage().nbytes() >= self.numel * t.element_size()


def _tensors(values):
    for value in values if isinstance(values, (list, tuple)) else [values]:
        if isinstance(value, (list, tuple)):
            yield from _tensors(value)
        elif isinstance(value, torch.Tensor):
            yield value


def eager(function, x):
    """Return the number of maps that ``function`` moves, and the number that its backward pass moves."""
    return _counted(function, x, lambda: _Eager(x.numel()))


def ours(function, x):
    """Return the same numbers if our backends compute ``function``."""
    return _counted(function, x, _counted_backend_calls)


def _counted(function, x, counter):
    x = x.detach().requires_grad_()
    with counter() as forward:
        out = function(x)
    dy = torch.ones_like(out)
    with counter() as backward:
        torch.autograd.grad(out, x, dy)
    return forward.transfers, backward.transfers


class _Count:
    transfers = 0


@contextmanager
def _counted_backend_calls():
    from mmattn.ops import autograd, dispatch

    count = _Count()

    def run(name, backend, x, *args):
        read = READS.get(name)
        if name == 'map_backward':
            (grads,) = args
            read = (grads.dy is not None) + (grads.damax is not None or grads.dstats is not None)
        count.transfers += read + WRITES.get(name, 0)
        return dispatch.run(name, backend, x, *args)

    with mock.patch.object(autograd, 'run', run):
        yield count
