"""Prune a model until no more than a part of its operations or parameters remains."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import nn

from mmattn.cost import model_cost
from mmattn.insertion.widths import widths_of
from mmattn.pruning.graph import ChannelGroup, PruningGraph
from mmattn.pruning.ranking import Ranking
from mmattn.pruning.zeros import require_same

_STEPS = 10  # the ratio is then known to 1/1024
_MOST = 1 - 2**-_STEPS


class CannotPrune(ValueError):
    """A model cannot be pruned as it was asked for; the text says why, and what can be done."""


@dataclass(frozen=True)
class Target:
    """How much of a model may remain.

    Attributes:
        ops: Operations on an image of ``size``, as a part of those before; ``None``: no limit.
        parameters: Parameters, likewise.
        size: Height and width of the image.
    """

    ops: float | None = None
    parameters: float | None = None
    size: tuple[int, int] = (800, 1344)

    def __post_init__(self):
        asked = [each for each in (self.ops, self.parameters) if each is not None]
        if not asked or not all(0 < each < 1 for each in asked):
            raise CannotPrune(
                'a target is a part of what the detector has now, above 0 and below 1, such as --ops 0.7: '
                f'--ops {self.ops}, --params {self.parameters}'
            )

    def shares(self, now: nn.Module, before: nn.Module) -> dict[str, tuple[float, float]]:
        """Return what remains and what may remain, by the name of each that is limited."""
        return {
            name: (count(now) / count(before), most)
            for name, most, count in (
                ('operations', self.ops, self._operations),
                ('parameters', self.parameters, _parameters),
            )
            if most is not None
        }

    def is_met(self, now: nn.Module, before: nn.Module) -> bool:
        """True if no more remains than may."""
        return all(share <= most for share, most in self.shares(now, before).values())

    def _operations(self, model: nn.Module) -> int:
        return model_cost(model, self.size, memory=False).ops.total()


def _parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@dataclass(frozen=True)
class Pruning:
    """What was taken from a model.

    Attributes:
        model: The pruned model, a copy.
        ratio: The part of the channels of each group that was taken.
        groups: The groups as they were, with the channels that were taken from each.
        ranked: Names of the layers of the groups whose channels the ranking itself scored.
        kept: Why layers keep their channels though nobody asked for it, by their names.
    """

    model: nn.Module
    ratio: float
    groups: tuple[tuple[ChannelGroup, tuple[int, ...]], ...]
    ranked: frozenset[str]
    kept: dict[tuple[str, ...], str]


def prune_to(
    model: nn.Module,
    target: Target,
    ranking: Callable[[], Ranking],
    ignore: Sequence[str] = (),
    round_to: int = 1,
) -> Pruning:
    """Take the same part of the channels of all groups, the least part that meets a target.

    Which channels go is the ranking's choice; how many go from each group is not. So two rankings give
    detectors of the same shape.

    Args:
        model: A trained detector; it is left as it is.
        target: What may remain.
        ranking: Makes a ranking, anew for each attempt.
        ignore: Globs over layers whose channels stay.
        round_to: Widths become multiples of this, where there is that much.

    Raises:
        CannotPrune: If the target cannot be reached, nothing can be pruned, or a block cannot lose channels.
        ValueError: If the result does not compute what the whole model does with those channels at zero.
    """

    def attempt(ratio: float) -> Pruning:
        return _pruned(model, ratio, ranking(), ignore, round_to)

    low, high = 0.0, _MOST
    best = attempt(high)
    if not target.is_met(best.model, model):
        raise CannotPrune(_out_of_reach(target.shares(best.model, model), best, ignore, round_to))
    for _ in range(_STEPS):
        middle = (low + high) / 2
        found = attempt(middle)
        if target.is_met(found.model, model):
            high, best = middle, found
        else:
            low = middle
    require_same(best.model, model, best.groups)
    return best


def _pruned(
    model: nn.Module, ratio: float, ranking: Ranking, ignore: Sequence[str], round_to: int
) -> Pruning:
    copied = deepcopy(model)
    graph = PruningGraph(copied, ignore)
    groups = list(graph.groups())
    if not groups:
        raise CannotPrune(
            'there is no layer whose channels may be taken'
            + (' outside --ignore' if ignore else '')
            + ''.join(f'; {names[0]} and what depends on it: {why}' for names, why in graph.kept.items())
        )
    _require_prunable(groups)
    _require_widths(groups, round_to)
    taken = []
    for group in groups:  # all are ranked before any is pruned
        count = _count(group, ratio, round_to)
        taken.append(_lowest(ranking.scores(group), count, group.sets) if count else ())
    ranked = frozenset(name for group in groups if ranking.knows(group) for name in group.layers)
    for group, channels in zip(groups, taken):
        if channels:
            graph.prune(group, channels)
    return Pruning(copied, ratio, tuple(zip(groups, taken)), ranked, graph.kept)


def _require_prunable(groups: Sequence[ChannelGroup]) -> None:
    for group in groups:
        for path, block in group.blocks.items():
            try:
                block.channel_axes()
            except ValueError as error:
                raise CannotPrune(
                    f"the block at '{path}' cannot be pruned: {error}. Leave the layers alone whose channels "
                    f"it gates: --ignore '{group.layers[0]}'"
                ) from error


def _count(group: ChannelGroup, ratio: float, round_to: int) -> int:
    """Return how many channels go; at least one of each set stays."""
    size = group.channels // group.sets
    stay = max(size - int(size * ratio + 0.5), 1)  # rounded: so widths do not all change at one ratio
    while stay < size and stay * group.sets % round_to:
        stay += 1  # to all channels, where there is no such multiple
    return (size - stay) * group.sets


def _lowest(scores: torch.Tensor, count: int, sets: int) -> tuple[int, ...]:
    """Return the channels with the lowest scores, as many of each set and at the same places in it."""
    size = len(scores) // sets
    order = scores.view(sets, size).mean(0).argsort(stable=True)[: count // sets]
    return tuple(sorted(int(place) + each * size for each in range(sets) for place in order))


def _out_of_reach(
    shares: dict[str, tuple[float, float]], pruning: Pruning, ignore: Sequence[str], round_to: int
) -> str:
    text = ', '.join(f'{most:.0%} of the {name}' for name, (_, most) in shares.items())
    rest = ', '.join(f'{share:.1%} of the {name}' for name, (share, _) in shares.items())
    why = 'only outputs and heads' if not ignore else 'what --ignore names, outputs and heads'
    return (
        f'the target, {text}, cannot be reached: {rest} remain with {_fewest(round_to)} in each of the '
        f'{len(pruning.groups)} groups, as {why} keep their channels. Ask for more'
    )


def _fewest(round_to: int) -> str:
    return 'one channel' if round_to == 1 else f'{round_to} channels, or all where there are fewer,'


def _require_widths(groups: Sequence[ChannelGroup], round_to: int) -> None:
    widest = max(group.channels for group in groups)
    if round_to >= widest > 1:
        raise CannotPrune(
            f'--round-to {round_to}: no layer would lose a channel, as none of those that may has more than '
            f'{widest}'
        )


def narrowed(pruned: nn.Module, before: nn.Module) -> dict:
    """Return the widths of the layers and blocks that a pruned model has fewer channels in."""
    old = widths_of(before)
    return {path: width for path, width in widths_of(pruned).items() if width != old[path]}
