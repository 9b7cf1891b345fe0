"""The controls of a study: what stands at the sites of a variant in the place of its attention."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from mmattn.blocks import Capacity
from mmattn.insertion import Attention
from mmattn.insertion.rule import Rule
from mmattn.insertion.site import Site

PLAIN, STATIC_GATE, CAPACITY = 'plain', 'static_gate', 'capacity'
CONTROLS = (PLAIN, STATIC_GATE, CAPACITY)
"""``'plain'``: the detector without attention. ``'static_gate'``: gates that do not see the map, at the same
sites. ``'capacity'``: bottlenecks of convolutions with as many parameters, at the same sites."""


class NoControl(ValueError):
    """A variant has no control of this type."""


def control_insertion(control: str, model: nn.Module) -> list[dict[str, Any]]:
    """Return the ``insert`` of a control for a variant that was built.

    Args:
        control: ``'static_gate'`` or ``'capacity'``.
        model: The variant's detector, with inserted attention.

    Raises:
        NoControl: If a block has fewer parameters than the smallest control, or there is no attention.
    """
    attention = getattr(model, 'attention', None)
    if not isinstance(attention, Attention):
        raise NoControl('it has no inserted attention')
    if control == STATIC_GATE:
        return [_rule([site.name for site in attention.claims], dict(type='mmattn.StaticGate'))]
    by_width: dict[tuple[int, int], list[str]] = {}
    for site, rule, block in attention.blocks():
        by_width.setdefault((_width(site, rule, block), rule.order), []).append(site.name)
    return [
        _rule(names, dict(type='mmattn.Capacity', hidden=hidden), order)
        for (hidden, order), names in by_width.items()
    ]


def _width(site: Site, rule: Rule, block: nn.Module) -> int:
    """The width of the bottleneck whose number of parameters is nearest to the block's."""
    wanted = sum(p.numel() for p in block.parameters())
    smallest, next_ = (Capacity.size(site.channels, hidden) for hidden in (1, 2))
    if wanted < smallest:
        raise NoControl(
            f'its {type(block).__name__} at {site.name} has {wanted:,} parameters, and the smallest '
            f'bottleneck of {site.channels} channels has {smallest:,}'
        )
    return 1 + round((wanted - smallest) / (next_ - smallest))


def _rule(names: list[str], block: Mapping[str, Any], order: int = 0) -> dict[str, Any]:
    rule = dict(at=names, block=dict(block))
    return dict(rule, order=order) if order else rule
