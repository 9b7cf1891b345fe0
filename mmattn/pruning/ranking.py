"""Rank the channels of a group: by the gates that a detector has learned, by magnitude, at random."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from mmattn.blocks import AttentionBlock
from mmattn.blocks.outermost import outermost_blocks
from mmattn.pruning.graph import ChannelGroup
from mmattn.visualization import record_gates

CHANNELWISE = ('channel', 'height', 'width', 'element')
"""The gates that say something of each channel by itself."""


class Ranking(Protocol):
    """Gives each channel of a group a score; those with the lowest go first."""

    name: str

    def scores(self, group: ChannelGroup) -> Tensor:
        """Return the scores, ``(C,)``."""

    def knows(self, group: ChannelGroup) -> bool:
        """True if the scores are what the ranking is named after, and not another's in their place."""


@dataclass(frozen=True)
class Magnitude:
    """By the mean of squared weights that compute or read a channel, of all layers of its group.

    As in Torch-Pruning, where it is ``GroupMagnitudeImportance`` (Fang et al., CVPR 2023).
    """

    name = 'magnitude'

    def scores(self, group: ChannelGroup) -> Tensor:
        import torch_pruning

        return torch_pruning.importance.GroupMagnitudeImportance(p=2)(group.items).cpu()

    def knows(self, group: ChannelGroup) -> bool:
        return True


class Random:
    """At random, by a seed: the control of all others."""

    name = 'random'

    def __init__(self, seed: int):
        self._generator = torch.Generator().manual_seed(seed)

    def scores(self, group: ChannelGroup) -> Tensor:
        return torch.rand(group.channels, generator=self._generator)

    def knows(self, group: ChannelGroup) -> bool:
        return True


class Gates:
    """By the mean gate of each channel over images; groups without a gate by magnitude.

    Where several blocks gate the channels of one group, as those of a stage's residual stream, it is the mean
    of theirs.

    Args:
        gates: What :func:`channel_gates` returned.
    """

    name = 'gates'

    def __init__(self, gates: Mapping[str, Tensor]):
        self._gates = gates
        self._otherwise = Magnitude()

    def scores(self, group: ChannelGroup) -> Tensor:
        if not self.knows(group):
            return self._otherwise.scores(group)
        paths = {block: path for path, block in group.blocks.items()}
        total, count = torch.zeros(group.channels), torch.zeros(group.channels)
        for item in group.items:
            gates = self._gates.get(paths.get(item.dep.target.module, ''))
            if gates is not None:
                places = torch.tensor(item.root_idxs)
                total.index_add_(0, places, gates[torch.tensor(item.idxs)])
                count.index_add_(0, places, torch.ones(len(places)))
        return total / count.clamp(min=1)

    def knows(self, group: ChannelGroup) -> bool:
        return any(path in self._gates for path in group.blocks)


@torch.no_grad()
def channel_gates(
    model: nn.Module, batches: Iterable[Any], run: Callable[[nn.Module, Any], Any]
) -> dict[str, Tensor]:
    """Return the mean gate of each channel over images, ``(C,)``, by the path of each block that has one.

    Gates of a channel are multiplied, as a block multiplies its map by them; spatial gates, the same for all
    channels, are left out.

    Args:
        model: A detector with attention.
        batches: Images as ``run`` takes them.
        run: Called with the model and each batch.
    """
    paths = {inner: path for path, block in outermost_blocks(model) for inner in block.modules()}
    sums: dict[str, Tensor] = {}
    counts: dict[str, int] = {}
    model.eval()
    with record_gates(model, _means) as recorded:
        for batch in batches:
            run(model, batch)
            for each in recorded:
                if each.value is not None:
                    path = paths[each.source.block]
                    sums[path] = sums.get(path, 0) + each.value.sum(0)
                    counts[path] = counts.get(path, 0) + len(each.value)
            recorded.clear()
    return {path: total / counts[path] for path, total in sums.items()}


def _means(source: Any, x: Tensor, gates: Mapping[str, Tensor]) -> Tensor | None:
    """Return the mean over positions of each channel's gate, ``(N, C)``; ``None`` if there is none."""
    block: AttentionBlock = source.block
    means = [
        gate.float().mean((2, 3)).cpu()
        for name, gate in gates.items()
        if name in CHANNELWISE and gate.shape[1] == block.in_channels
    ]
    return torch.stack(means).prod(0) if means else None


RANKINGS = (Magnitude.name, Gates.name, Random.name)
"""The names of all rankings, the best first; ``tools/prune.py --rank`` takes them."""
