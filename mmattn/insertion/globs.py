"""Globs over dotted names, matched segment by segment as paths are."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from fnmatch import fnmatchcase


def glob_match(pattern: str, name: str) -> bool:
    """Return True if ``pattern`` matches the whole of ``name``.

    ``*``, ``?`` and ``[...]`` stay within one segment; a segment ``**`` spans any number of them.

    Example:
        >>> glob_match('backbone.layer[2-4].*.residual', 'backbone.layer3.0.residual')
        True
        >>> glob_match('neck.*', 'neck.fpn_convs.0')
        False
        >>> glob_match('**.residual', 'backbone.layer3.0.residual')
        True
    """
    return _match(pattern.split('.'), name.split('.'))


def _match(pattern: list[str], name: list[str]) -> bool:
    if not pattern:
        return not name
    if pattern[0] == '**':
        return any(_match(pattern[1:], name[i:]) for i in range(len(name) + 1))
    return bool(name) and fnmatchcase(name[0], pattern[0]) and _match(pattern[1:], name[1:])


def nearest_names(pattern: str, names: Iterable[str], limit: int = 3) -> list[str]:
    """Return the names that a pattern without a match may have meant.

    The pattern is followed segment by segment as far as it matches; the names are those at the first
    segment that does not match.

    Args:
        pattern: A glob that matches no name.
        names: All names.
        limit: Maximal number of names returned.
    """
    names = list(names)
    segments = pattern.split('.')
    for depth in range(len(segments), 0, -1):
        head = segments[: depth - 1]
        here = sorted(
            {
                '.'.join(n.split('.')[:depth])
                for n in names
                if len(n.split('.')) >= depth and _match(head, n.split('.')[: depth - 1])
            }
        )
        if here:
            wanted = '.'.join(segments[:depth])
            return difflib.get_close_matches(wanted, here, n=limit, cutoff=0.6) or here[:limit]
    return []
