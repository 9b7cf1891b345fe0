"""Many names in few globs, and an insertion as one writes it in a config."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def compact_names(names: Iterable[str]) -> list[str]:
    """Globs that match exactly ``names`` among names that differ from them in digits.

    Example:
        >>> compact_names(['layer3.0', 'layer3.1', 'layer3.10', 'layer4.0', 'layer4.1', 'conv1'])
        ['layer[3-4].[0-1]', 'layer3.10', 'conv1']
    """
    patterns = [tuple(name) for name in names]
    for position in range(max(map(len, patterns), default=0) - 1, -1, -1):
        # All that are alike but for a digit here become one: a product of classes stays one.
        groups: dict[tuple, list[str]] = {}
        for pattern in patterns:
            here = pattern[position : position + 1]
            if here and here[0].isdigit():
                key = (*pattern[:position], None, *pattern[position + 1 :])
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


def block_text(block: Mapping) -> str:
    """A block's config as one writes it."""
    return f'dict({", ".join(f"{key}={_value(value)}" for key, value in block.items())})'


def _value(value) -> str:
    if isinstance(value, Mapping) and all(isinstance(key, str) and key.isidentifier() for key in value):
        return block_text(value)
    return repr(value)


def insert_text(entries: Iterable[Mapping]) -> str:
    """``insert=[...]`` with one rule for all sites that have the same block."""
    rules: dict[str, list[str]] = {}
    for entry in entries:
        rest = f'block={block_text(entry["block"])}'
        if entry.get('order'):
            rest += f', order={entry["order"]}'
        if entry.get('freeze_with_host'):
            rest += ', freeze_with_host=True'
        rules.setdefault(rest, []).append(entry['at'])
    written = []
    for rest, names in rules.items():
        globs = compact_names(names)
        written.append(f'dict(at={(globs[0] if len(globs) == 1 else globs)!r}, {rest})')
    return f'insert=[{", ".join(written)}]'
