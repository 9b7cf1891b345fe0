"""Key tables: how the weights of a public checkpoint are named here. One function applies them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import Tensor

BLOCK = '@'
"""Stands before the type of an attention block in a key, as in ``layer1.0.@SE.fc1.weight``: at the end of the
residual branch of ``layer1.0``, or after ``layer1``."""


@dataclass(frozen=True)
class Rule:
    r"""What a weight is called here.

    Attributes:
        theirs: Pattern of the whole key.
        ours: The key here, with groups of the pattern; ``<\2-1>`` is the number in a group less one.
        change: Turns their value into ours; ``None`` if it is the same.
    """

    theirs: str
    ours: str
    change: Callable[[Tensor], Tensor] | None = None


@dataclass(frozen=True)
class KeyTable:
    """The layout of one source.

    Attributes:
        name: Name of the layout in reports.
        library: What ``--from`` calls the source; several if they share the layout.
        marks: Patterns of whole keys; the layout is that of a file if each matches a key.
        rules: In order; the first that matches a key counts.
        dropped: Patterns of keys that a backbone has no use for, and why.
        style: MMDetection's ``style``: ``'caffe'`` if the first convolution of a bottleneck has the stride.
        fill: Adds weights that MMDetection's backbone has besides.
    """

    name: str
    library: tuple[str, ...]
    marks: tuple[str, ...]
    rules: tuple[Rule, ...]
    dropped: tuple[tuple[str, str], ...]
    style: str = 'pytorch'
    fill: Callable[[dict[str, Tensor]], dict[str, Tensor]] | None = None

    def fits(self, keys: Mapping[str, Tensor]) -> bool:
        """True if a file with these keys has this layout."""
        return _all_found(self.marks, keys)


@dataclass(frozen=True)
class RefusedLayout:
    """A layout of which no model can be converted.

    Attributes:
        name: Its name in messages.
        marks: As of :class:`KeyTable`.
        why: The reason.
    """

    name: str
    marks: tuple[str, ...]
    why: str

    def fits(self, keys: Mapping[str, Tensor]) -> bool:
        """True if a file with these keys has this layout."""
        return _all_found(self.marks, keys)


def _all_found(marks: tuple[str, ...], keys: Mapping[str, Tensor]) -> bool:
    return all(any(re.fullmatch(mark, key) for key in keys) for mark in marks)


@dataclass
class Renamed:
    """What :func:`apply_table` did.

    Attributes:
        state: The weights by their keys here; attention blocks as :data:`BLOCK` says.
        sources: Their key of each.
        dropped: Keys that were left out on purpose, and why.
        unexpected: Keys that the table does not know.
        added: Keys that no weight of theirs has.
    """

    state: dict[str, Tensor] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    dropped: dict[str, str] = field(default_factory=dict)
    unexpected: list[str] = field(default_factory=list)
    added: list[str] = field(default_factory=list)


def apply_table(table: KeyTable, theirs: Mapping[str, Tensor]) -> Renamed:
    """Rename the weights of a source."""
    result = Renamed()
    for key, value in theirs.items():
        found = next(((rule, m) for rule in table.rules if (m := re.fullmatch(rule.theirs, key))), None)
        why = next((why for pattern, why in table.dropped if re.fullmatch(pattern, key)), None)
        if found:
            rule, match = found
            ours = re.sub(r'<(\d+)-1>', lambda number: str(int(number[1]) - 1), match.expand(rule.ours))
            result.state[ours] = rule.change(value) if rule.change else value
            result.sources[ours] = key
        elif why:
            result.dropped[key] = why
        else:
            result.unexpected.append(key)
    if table.fill and not result.unexpected:
        before = set(result.state)
        result.state = table.fill(result.state)
        result.added = [key for key in result.state if key not in before]
    return result
