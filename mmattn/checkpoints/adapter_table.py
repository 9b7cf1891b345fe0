"""List adapters in a table."""

from __future__ import annotations

import os
from collections.abc import Mapping

from rich.markup import escape
from rich.table import Table

from mmattn.checkpoints.adapter_file import Adapter
from mmattn.insertion.glob_names import names_to_globs
from mmattn.insertion.insert_text import block_text


def adapter_table(adapters: Mapping[str, Adapter]) -> Table:
    """Return a table with one row per adapter.

    Args:
        adapters: The adapters, by path of their file.
    """
    table = Table('adapter', 'attention', 'weights', 'bytes', 'detector', 'base sha256', 'versions')
    for path, adapter in adapters.items():
        sites: dict[str, list[str]] = {}
        for entry in adapter.spec['insert']:
            sites.setdefault(block_text(entry['block']).removeprefix('dict'), []).append(entry['at'])
        attention = '\n'.join(
            f'{len(names)} x {block} at {", ".join(names_to_globs(names))}' for block, names in sites.items()
        )
        table.add_row(
            escape(path),
            escape(attention),
            f'{adapter.numel:,}',
            f'{os.path.getsize(path):,}',
            adapter.spec.get('detector', ''),
            adapter.base.sha256[:12],
            '\n'.join(f'{name} {number}' for name, number in adapter.versions.items()),
        )
    return table
