"""The error for a file that cannot be evaluated: what was found in it, and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


class EvaluationRefused(ValueError):
    """A results or annotation file that would be evaluated wrongly, or not at all."""


def some(values: Iterable[Any], most: int = 5) -> str:
    """Return the first values as text, and how many there are.

    Example:
        >>> some(range(7))
        '0, 1, 2, 3, 4, ... (7 in all)'
    """
    values = list(values)
    shown = ', '.join(repr(value) for value in values[:most])
    return shown if len(values) <= most else f'{shown}, ... ({len(values)} in all)'
