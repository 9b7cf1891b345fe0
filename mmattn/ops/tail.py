"""The tail of a residual block, ``relu(gates * norm(z) + identity)``, in as few passes as possible.

``z`` is the output of the block's last convolution and ``norm`` a batch norm in eval mode, or none. The
normalised map is computed anew from ``z`` wherever it is needed, and is never written: what the backward pass
keeps is ``z`` and the output, as it does without attention.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mmattn.ops import reference, tail_autograd
from mmattn.ops.autograd import GatePlaceholders, StatsPlaceholders
from mmattn.ops.backends.base import Gates, Pooled
from mmattn.ops.dispatch import backend_for, has_tail, run_tail
from mmattn.ops.lazy_map import LazyMap, Uses
from mmattn.ops.tensors import has_no_data, in_graph, map_format

VARIABLE = 'MMATTN_TAIL'
MODES = {
    'auto': 'on, but with start="identity" only where the result is bit for bit that of the steps',
    'on': 'wherever it can be',
    'off': 'step by step, as MMDetection computes it',
}


class Norm(NamedTuple):
    """A batch norm in eval mode: ``(z - mean) / sqrt(var + eps) * weight + bias``, each ``(C,)``."""

    weight: Tensor | None
    bias: Tensor | None
    mean: Tensor
    var: Tensor
    eps: float

    def __call__(self, z: Tensor) -> Tensor:
        return F.batch_norm(z, self.mean, self.var, self.weight, self.bias, False, 0.0, self.eps)


class NormedUses(Uses):
    """The uses of a map that is a norm's output, and is not written."""

    def __init__(self, z: Tensor, norm: Norm | None, backend: str):
        super().__init__(z, backend)
        self.norm = norm
        self.weight, self.bias = (None, None) if norm is None else norm[:2]
        parameters = [t for t in (self.weight, self.bias) if t is not None and t.requires_grad]
        self.norm_trains = torch.is_grad_enabled() and bool(parameters)
        self.tracked = self.tracked or self.norm_trains
        self.affine = None if norm is None else run_tail('norm_affine', backend, z, norm)
        self.sums_placeholder = None
        self._x: Tensor | None = None

    @property
    def x(self) -> Tensor:
        if self._x is None:
            self._x = self.source if self.norm is None else self.norm(self.source)
        return self._x

    def enter(self, pooling: str = '') -> None:
        if self.entered:
            return
        self.entered, self.pooling = True, pooling
        if self.tracked:
            made = tail_autograd.enter(
                self.source, self.weight, self.bias, self.affine, pooling, self.backend
            )
            self.pooled = Pooled(*made[:3])
            self.gate_placeholders = GatePlaceholders(*made[3:6])
            self.stats_placeholders = StatsPlaceholders(*made[6:10])
            self.sums_placeholder = made[10]
        elif pooling:
            self.pooled, _ = run_tail('pool', self.backend, self.source, self.affine, 'max' in pooling)

    def product(self, gates: Gates) -> Tensor:
        x = self.x
        for gate in gates:
            x = x if gate is None else reference.apply_gate(x, gate)
        return x

    def stats_of(self, channel: Tensor | None) -> Tensor:
        amax_mean, _ = tail_autograd.stats(
            self.source, self.affine, channel, *self.stats_placeholders, self.backend
        )
        return amax_mean


_counted: ContextVar[Callable[[bool], str] | None] = ContextVar('mmattn_counted_tails', default=None)


def tails_counter(like: Tensor) -> Callable[[], AbstractContextManager[None]]:
    """What returns a context in which fake maps take the tail where maps like ``like`` would.

    What the tail keeps can be counted there. To be called outside of it, and of a fake mode.
    """
    reasons = {keep_bits: tail_reason(like, like, keep_bits) for keep_bits in (False, True)}

    @contextmanager
    def counting() -> Iterator[None]:
        token = _counted.set(reasons.__getitem__)
        try:
            yield
        finally:
            _counted.reset(token)

    return counting


def are_tails_counted() -> bool:
    """True inside such a context, whose hooks do not matter."""
    return _counted.get() is not None


def lazy_norm(z: Tensor, norm: Norm | None) -> LazyMap:
    """The output of ``norm`` as a lazy map; :func:`tail_reason` must have found none."""
    return LazyMap(NormedUses(z, norm, backend_for(z)))  # ATen's for a fake map


def residual_tail(x: LazyMap, identity: Tensor, in_place: bool = False) -> Tensor:
    """``relu(x + identity)``, of a map that :func:`lazy_norm` made, after its gates were applied.

    Args:
        x: The map.
        identity: What is added, laid out as the map.
        in_place: If nothing is differentiated, write the result to the memory of ``z``.
    """
    uses = x.uses
    gates = x.use_gates()
    if gates is None:
        return F.relu(x.tensor() + identity)
    # By the sums of this pass alone the norm's gradients are known if each element's gradient is its own.
    simple = gates.spatial is None and uses.stats is None and 'max' not in uses.pooling
    sums = uses.sums_placeholder if simple and uses.norm_trains else None
    in_place = in_place and not torch.is_grad_enabled()
    return tail_autograd.tail(
        uses.source, uses.affine, *gates, identity, *uses.gate_placeholders, sums, in_place, uses.backend
    )


def tail_reason(z: Tensor, identity: Tensor, keep_bits: bool) -> str:
    """Why the tail of these maps is computed step by step; empty if it is not.

    Args:
        z: Output of the last convolution.
        identity: What is added.
        keep_bits: Whether the result must have every bit of the steps while the gates are 1.
    """
    counted = _counted.get()
    if counted is not None and has_no_data(z):
        return counted(keep_bits)
    mode = os.environ.get(VARIABLE) or 'auto'
    if mode not in MODES:
        raise ValueError(f'{VARIABLE}={mode!r}; possible: {", ".join(map(repr, MODES))}')
    if mode == 'off':
        return f'{VARIABLE}=off'
    backend = backend_for(z)
    if not has_tail(backend):
        return f'the {backend} backend does not compute it'
    if in_graph(z):
        return 'a graph is captured'
    if identity.shape != z.shape or identity.dtype != z.dtype or identity.device != z.device:
        return 'what is added differs in shape, dtype or device'
    layout = map_format(z)
    if not identity.is_contiguous(memory_format=layout):
        return 'what is added differs in layout'
    if keep_bits and mode == 'auto' and not has_bits_of_steps(backend, z.dtype, z.device, layout):
        return f"start='identity', and it has not all bits of the steps here ({VARIABLE}=on allows that)"
    return ''


@functools.lru_cache(None)
def has_bits_of_steps(
    backend: str,
    dtype: torch.dtype,
    device: torch.device,
    layout: torch.memory_format = torch.contiguous_format,
) -> bool:
    """Whether the tail without gates gives every bit of norm, addition and ReLU, tried on a small map.

    How PyTorch rounds a norm differs between processors and versions.
    """
    generator = torch.Generator().manual_seed(0)
    z, identity = (
        torch.randn(2, 67, 9, 13, generator=generator).to(device, dtype, memory_format=layout)
        for _ in range(2)
    )
    weight, bias, mean, var = (torch.randn(67, generator=generator).to(device) for _ in range(4))
    norm = Norm(weight, bias, mean, var.exp(), 1e-5)
    with torch.no_grad():
        steps = F.relu(norm(z) + identity)
        affine = run_tail('norm_affine', backend, z, norm)
        return torch.equal(run_tail('tail', backend, z, affine, Gates(None, None), identity, False), steps)
