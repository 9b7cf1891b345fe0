"""What checks find in data: each finding with its severity, examples and remedy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

REFUSE = 'refused'
"""Training on it would go wrong, and what was meant is not certain."""
REPAIR = 'read right'
"""What was meant is certain: a normalised copy of the annotation file says it as COCO does."""
TELL = 'to know'
"""Training goes on as it is."""
SEE = 'See whether the boxes lie right: tools/check_data.py draws them'


@dataclass(frozen=True)
class Finding:
    """One thing that is odd about a data set.

    Args:
        severity: ``REFUSE``, ``REPAIR`` or ``TELL``.
        text: What was found, with counts: "3 of 12 boxes are crowds".
        examples: What is concerned, all or some of it; at most five are shown.
        remedy: What to do, as a sentence without its full stop.
    """

    severity: str
    text: str
    examples: Sequence[Any] = ()
    remedy: str = ''

    def __str__(self) -> str:
        text = f'{self.text}: {some(self.examples)}' if self.examples else self.text
        return f'{text}. {self.remedy}' if self.remedy else text


class DataRefused(ValueError):
    """Data that training would go wrong on."""


def some(values: Iterable[Any], most: int = 5) -> str:
    """Return the first values as text, and how many there are.

    Example:
        >>> some(range(7))
        '0, 1, 2, 3, 4, ... (7 in all)'
    """
    values = list(values)
    shown = ', '.join(str(value) for value in values[:most])
    return shown if len(values) <= most else f'{shown}, ... ({len(values)} in all)'


def shorten(value: Any, most: int = 60) -> str:
    """Return the representation of a value, cut off where it is long."""
    text = repr(value)
    return text if len(text) <= most else f'{text[:most]}...'
