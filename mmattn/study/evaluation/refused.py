"""The error for a file that cannot be evaluated: what was found in it, and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mmattn.engine.data import findings


class EvaluationRefused(ValueError):
    """A results or annotation file that would be evaluated wrongly, or not at all."""


def some(values: Iterable[Any]) -> str:
    """Return the first values as Python writes them, and how many there are.

    Example:
        >>> some('abcdefg')
        "'a', 'b', 'c', 'd', 'e', ... (7 in all)"
    """
    return findings.some(map(repr, values))
