"""Summarise many names in few globs."""

from __future__ import annotations

from collections.abc import Iterable


def names_to_globs(names: Iterable[str]) -> list[str]:
    """Return globs that match exactly ``names`` among all names that differ from them in digits only.

    Example:
        >>> names_to_globs(['layer3.0', 'layer3.1', 'layer3.10', 'layer4.0', 'layer4.1', 'conv1'])
        ['layer[3-4].[0-1]', 'layer3.10', 'conv1']
    """
    patterns = [tuple(name) for name in names]
    for place in range(max(map(len, patterns), default=0) - 1, -1, -1):
        # Patterns that differ only in a digit here become one.
        groups: dict[tuple, list[str]] = {}
        for pattern in patterns:
            here = pattern[place : place + 1]
            if here and here[0].isdigit():
                key = (*pattern[:place], None, *pattern[place + 1 :])
                groups.setdefault(key, []).extend(here)
            else:
                groups[pattern] = []
        patterns = [
            tuple(_class(digits) if each is None else each for each in key) for key, digits in groups.items()
        ]
    return [''.join(pattern) for pattern in patterns]


def _class(digits: list[str]) -> str:
    """``'[0-3]'`` for the digits 0, 1, 2, 3."""
    digits = sorted(set(digits))
    if len(digits) == 1:
        return digits[0]
    first, last = digits[0], digits[-1]
    return f'[{first}-{last}]' if int(last) - int(first) == len(digits) - 1 else f'[{"".join(digits)}]'
