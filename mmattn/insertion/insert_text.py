"""Write an insertion as it would stand in a config."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mmattn.insertion.glob_names import names_to_globs


def block_text(block: Mapping) -> str:
    """Return a block's config as Python source."""
    return f'dict({", ".join(f"{key}={_value(value)}" for key, value in block.items())})'


def _value(value) -> str:
    if isinstance(value, Mapping) and all(isinstance(key, str) and key.isidentifier() for key in value):
        return block_text(value)
    return repr(value)


def insert_text(entries: Iterable[Mapping]) -> str:
    """Return ``insert=[...]`` as Python source, with one rule per distinct block."""
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
        globs = names_to_globs(names)
        written.append(f'dict(at={(globs[0] if len(globs) == 1 else globs)!r}, {rest})')
    return f'insert=[{", ".join(written)}]'
