"""Lazy feature maps: gates are recorded, not multiplied in, so that one pass does the work of several.

The functions here mean the same as those of ``reference`` and take a lazy map too. What the backends cannot
do is done by the definitions on the tensor itself.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mmattn.ops import autograd, reference
from mmattn.ops.autograd import NO_GATE_PLACEHOLDERS, NO_STATS_PLACEHOLDERS
from mmattn.ops.backends.base import Gates, Pooled
from mmattn.ops.dispatch import backend_for, chosen
from mmattn.ops.tensors import in_graph, is_exporting, is_watched


class Uses:
    """The uses of one map so far. Each happens at most once, since each has one set of gradient
    placeholders."""

    def __init__(self, source: Tensor, backend: str):
        self.source, self.backend = source, backend
        self.tracked = torch.is_grad_enabled() and source.requires_grad
        self.entered = False
        self.pooling = ''
        self.pooled: Pooled | None = None
        self.gate_placeholders, self.stats_placeholders = NO_GATE_PLACEHOLDERS, NO_STATS_PLACEHOLDERS
        self.stats: tuple[Tensor | None, Tensor] | None = None
        self.gated, self.gated_by = False, None

    @property
    def x(self) -> Tensor:
        """The map."""
        return self.source

    def enter(self, pooling: str = '') -> None:
        """Pool the map and get its gradient placeholders, unless that was done before."""
        if self.entered:
            return
        self.entered, self.pooling = True, pooling
        if self.tracked:
            self.pooled, for_gates, for_stats = autograd.enter(self.x, pooling, self.backend)
            # Between two graphs of torch.compile, a gradient that is not there becomes zeros.
            if not torch.compiler.is_compiling() or is_exporting():
                self.gate_placeholders, self.stats_placeholders = for_gates, for_stats
        elif pooling:
            self.pooled = autograd.pool(self.x, 'max' in pooling, self.backend)

    def product(self, gates: Gates) -> Tensor:
        """The map multiplied by gates."""
        return autograd.apply_gates(self.x, gates, self.gate_placeholders, self.backend)

    def stats_of(self, channel: Tensor | None) -> Tensor:
        """Maximum and mean over the channels of the map times a channel gate."""
        return autograd.stats(self.x, channel, self.stats_placeholders, self.backend)


class LazyMap:
    """A feature map and its pending gates; the product has not been materialized.

    It has the shape, dtype and device of the map, and only ``mmattn.ops`` takes it.
    """

    def __init__(self, uses: Uses, channel: Tensor | None = None, spatial: Tensor | None = None):
        self.uses, self._channel, self._spatial = uses, channel, spatial
        source = uses.source
        self.shape, self.dtype, self.device = source.shape, source.dtype, source.device

    def _has_no_gates(self) -> bool:
        return self._channel is None and self._spatial is None

    def tensor(self) -> Tensor:
        """The product of map and gates."""
        if self._has_no_gates():
            return self.uses.x
        gates = self.use_gates()
        if gates is not None:
            return self.uses.product(gates)
        x = self.uses.x
        for gate in (self._channel, self._spatial):
            x = x if gate is None else reference.apply_gate(x, gate)
        return x

    def use_gates(self) -> Gates | None:
        """The pending gates, to be applied once; ``None`` if only the definitions can apply them."""
        uses = self.uses
        if uses.gated or (uses.stats is not None and uses.stats[0] is not self._channel):
            return None
        uses.enter()
        uses.gated, uses.gated_by = True, self._channel
        return Gates(self._channel, self._spatial)

    def pool(self, pooling: str) -> Pooled | None:
        """Mean and maximum over positions; ``None`` if only the definitions can compute them."""
        uses = self.uses
        if not self._has_no_gates():
            return None
        uses.enter(pooling)
        return uses.pooled if pooling in uses.pooling else None

    def channel_stats(self) -> Tensor | None:
        """Maximum and mean over channels; ``None`` if only the definitions can compute them."""
        uses = self.uses
        # The joint backward pass takes one channel gate.
        if self._spatial is not None or (uses.gated and uses.gated_by is not self._channel):
            return None
        if uses.stats is None:
            uses.enter()
            uses.stats = (self._channel, uses.stats_of(self._channel))
        return uses.stats[1] if uses.stats[0] is self._channel else None

    def times(self, gate: Tensor) -> LazyMap | None:
        """The map with one more gate; ``None`` if it must be materialized first."""
        n, c, h, w = self.shape
        if gate.device != self.device:
            return None  # PyTorch raises its own error
        if self._has_no_gates() and gate.shape == (n, c, 1, 1):
            return LazyMap(self.uses, gate)
        if self._spatial is None and gate.shape == (n, 1, h, w):
            return LazyMap(self.uses, self._channel, gate)
        return None


FeatureMap = Tensor | LazyMap
"""What the functions of ``mmattn.ops`` take."""


def lazy(x: Tensor, least: int = 0) -> FeatureMap:
    """``x`` as a lazy map; the tensor itself where plain PyTorch computes.

    Args:
        x: The map.
        least: On a CPU a fp32 map of fewer elements is left to plain PyTorch, unless a backend was asked for
            by name.
    """
    if least and not (in_graph(x) or is_watched()) and x.numel() < least:
        if x.dtype == torch.float32 and x.device.type == 'cpu' and chosen() == 'auto':
            return x
    backend = backend_for(x)
    return x if backend == 'plain' else LazyMap(Uses(x, backend))


def materialize(x: FeatureMap) -> Tensor:
    """The map multiplied by all gates that were applied to it."""
    return x.tensor() if isinstance(x, LazyMap) else x


def _for_maxima(x: FeatureMap) -> FeatureMap:
    """``x``, or under torch.compile a lazy map, since Inductor breaks the gradient of maxima.

    PyTorch finds maxima again by comparing the map with its maximum. Inductor compares a map that it
    recomputes without rounding to half precision with a maximum that was rounded: it finds none, and
    divides by their number. Our operator keeps the two consistent.
    """
    if isinstance(x, LazyMap) or not torch.compiler.is_compiling():
        return x
    backend = backend_for(x, maxima=True)
    return x if backend == 'plain' else LazyMap(Uses(x, backend))


def spatial_avg(x: FeatureMap) -> Tensor:
    """Mean over the positions of each channel: ``(N, C, H, W) -> (N, C, 1, 1)``, at least fp32."""
    pooled = x.pool('avg') if isinstance(x, LazyMap) else None
    return reference.spatial_avg(materialize(x)) if pooled is None else pooled.avg


def spatial_max(x: FeatureMap) -> Tensor:
    """Maximum over the positions of each channel: ``(N, C, H, W) -> (N, C, 1, 1)``, at least fp32.

    Equal maxima share the gradient evenly, in any order of execution.
    """
    x = _for_maxima(x)
    pooled = x.pool('avg max') if isinstance(x, LazyMap) else None
    return reference.spatial_max(materialize(x)) if pooled is None else pooled.amax


def spatial_avg_max(x: FeatureMap) -> tuple[Tensor, Tensor]:
    """:func:`spatial_avg` and :func:`spatial_max`, in one pass where that is possible."""
    x = _for_maxima(x)
    pooled = x.pool('avg max') if isinstance(x, LazyMap) else None
    if pooled is None:
        x = materialize(x)
        return reference.spatial_avg(x), reference.spatial_max(x)
    return pooled.avg, pooled.amax


def channel_stats(x: FeatureMap) -> Tensor:
    """Maximum and mean over the channels: ``(N, C, H, W) -> (N, 2, H, W)``, at least fp32."""
    x = _for_maxima(x)
    stats = x.channel_stats() if isinstance(x, LazyMap) else None
    return reference.channel_stats(materialize(x)) if stats is None else stats


def apply_gate(x: FeatureMap, gate: Tensor) -> FeatureMap:
    """``x * gate`` in the shape, dtype and memory format of ``x``; a lazy map stays lazy.

    Args:
        x: The map, ``(N, C, H, W)``.
        gate: What it is multiplied by: any shape that broadcasts to the map's, or ``(N, G, H, W)`` for ``G``
            groups of successive channels.
    """
    product = x.times(gate) if isinstance(x, LazyMap) else None
    return reference.apply_gate(materialize(x), gate) if product is None else product
