"""A map that a block holds: what is asked of it is computed, but no product with a gate is written.

The functions here are those of ``reference``, and mean the same, for a map that is held too. Whatever cannot
be done by the passes is done by the definitions, on the map itself: never wrong, only slower.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mmattn.ops import fused, reference
from mmattn.ops.switch import implementation_for


class _Uses:
    """The passes over one map, each of which is there once, as the relays are."""

    def __init__(self, x: Tensor, how: str):
        self.x, self.how = x, how
        self.tracked = torch.is_grad_enabled() and x.requires_grad
        self.relays: tuple[Tensor | None, ...] | None = None
        self.pooled: tuple[str, Tensor, Tensor] | None = None
        self.stats: tuple[Tensor | None, Tensor] | None = None
        self.gated, self.gated_by = False, None

    def enter(self, pool: str = '') -> tuple[Tensor | None, ...]:
        if self.relays is None:
            if self.tracked:
                avg, top, _, *relays = fused.enter(self.x, pool, self.how)
            else:
                avg, top, _ = fused.pool(self.x, 'max' in pool, self.how) if pool else (None,) * 3
                relays = (None,) * 7
            # Between two graphs of a compiler, a gradient that is not there becomes zeros.
            if torch.compiler.is_compiling() and not torch.compiler.is_exporting():
                relays = (None,) * 7
            self.relays, self.pooled = tuple(relays), (pool, avg, top)
        return self.relays


class LazyMap:
    """A map, times the gates applied to it so far, which nobody has written.

    It has the shape, dtype and device of the map, and is given to ``ops`` only.
    """

    def __init__(self, uses: _Uses, channel: Tensor | None = None, spatial: Tensor | None = None):
        self._uses, self._channel, self._spatial = uses, channel, spatial
        self.shape, self.dtype, self.device = uses.x.shape, uses.x.dtype, uses.x.device

    def _is_bare(self) -> bool:
        return self._channel is None and self._spatial is None

    def tensor(self) -> Tensor:
        """The product, written."""
        uses = self._uses
        if self._is_bare():
            return uses.x
        if uses.gated or (uses.stats is not None and uses.stats[0] is not self._channel):
            x = uses.x
            for gate in (self._channel, self._spatial):
                x = x if gate is None else reference.apply_gate(x, gate)
            return x
        relays = uses.enter()
        uses.gated, uses.gated_by = True, self._channel
        return fused.gate(uses.x, self._channel, self._spatial, *relays[:3], uses.how)

    def pooled(self, pool: str) -> tuple[Tensor, Tensor] | None:
        """Mean and maximum over positions; ``None`` where the pass cannot be made (any more)."""
        uses = self._uses
        if not self._is_bare():
            return None
        if uses.relays is None:
            uses.enter(pool)
        if uses.pooled is None or pool not in uses.pooled[0]:
            return None
        return uses.pooled[1:]

    def stats(self) -> Tensor | None:
        """Maximum and mean over channels; ``None`` where the pass cannot be made (any more)."""
        uses = self._uses
        # What the joint backward pass knows of gates is one channel gate.
        if self._spatial is not None or (uses.gated and uses.gated_by is not self._channel):
            return None
        if uses.stats is None:
            relays = uses.enter()
            uses.stats = (self._channel, fused.stats(uses.x, self._channel, *relays[3:], uses.how)[0])
        return uses.stats[1] if uses.stats[0] is self._channel else None

    def times(self, gate: Tensor) -> LazyMap | None:
        """This times one more gate; ``None`` where that must be written first."""
        n, c, h, w = self.shape
        if gate.device != self.device:
            return None  # PyTorch says why not
        if self._is_bare() and gate.shape == (n, c, 1, 1):
            return LazyMap(self._uses, gate)
        if self._spatial is None and gate.shape == (n, 1, h, w):
            return LazyMap(self._uses, self._channel, gate)
        return None


FeatureMap = Tensor | LazyMap


def lazy(x: Tensor) -> FeatureMap:
    """``x`` for a block that asks of it only what ``ops`` has: the tensor itself if plain PyTorch is chosen."""
    how = implementation_for(x)
    return x if how == 'plain' else LazyMap(_Uses(x, how))


def materialize(x: FeatureMap) -> Tensor:
    """The map with all gates that were applied to it."""
    return x.tensor() if isinstance(x, LazyMap) else x


def _for_maxima(x: FeatureMap) -> FeatureMap:
    """``x``, or while a graph is compiled a map that is held: a compiler breaks the gradient of maxima.

    PyTorch looks for them by comparing the map with its maximum once more, and Inductor compares a map that it
    computes again, without rounding it to half precision, with a maximum that was rounded: it finds none, and
    divides by their number. An operator of ours stands in between.
    """
    if isinstance(x, LazyMap) or not torch.compiler.is_compiling():
        return x
    how = implementation_for(x, maxima=True)
    return x if how == 'plain' else LazyMap(_Uses(x, how))


def spatial_avg(x: FeatureMap) -> Tensor:
    pooled = x.pooled('avg') if isinstance(x, LazyMap) else None
    return reference.spatial_avg(materialize(x)) if pooled is None else pooled[0]


def spatial_max(x: FeatureMap) -> Tensor:
    x = _for_maxima(x)
    pooled = x.pooled('avg max') if isinstance(x, LazyMap) else None
    return reference.spatial_max(materialize(x)) if pooled is None else pooled[1]


def spatial_avg_max(x: FeatureMap) -> tuple[Tensor, Tensor]:
    """:func:`spatial_avg` and :func:`spatial_max`, in one pass where that is possible."""
    x = _for_maxima(x)
    pooled = x.pooled('avg max') if isinstance(x, LazyMap) else None
    if pooled is None:
        x = materialize(x)
        return reference.spatial_avg(x), reference.spatial_max(x)
    return pooled


def channel_stats(x: FeatureMap) -> Tensor:
    x = _for_maxima(x)
    stats = x.stats() if isinstance(x, LazyMap) else None
    return reference.channel_stats(materialize(x)) if stats is None else stats


def apply_gate(x: FeatureMap, gate: Tensor) -> FeatureMap:
    held = x.times(gate) if isinstance(x, LazyMap) else None
    return reference.apply_gate(materialize(x), gate) if held is None else held


for _function in (spatial_avg, spatial_max, channel_stats, apply_gate):
    _function.__doc__ = getattr(reference, _function.__name__).__doc__
