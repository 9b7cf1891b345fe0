"""All blocks as a table: that of README.md and docs/blocks.md."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass

from mmattn.blocks import AttentionBlock
from mmattn.cost.block_cost import BlockCost, block_cost, one_frame
from mmattn.registry import MODELS

MAPS = {256: (200, 336), 512: (100, 168), 1024: (50, 84), 2048: (25, 42)}
"""By their channels, the maps that the stages of a ResNet-50 make of a picture of 800x1344."""
# What each role needs to stand where it belongs, and through which doors it gets there.
_OPTIONS = dict(
    convolution=lambda channels: dict(out_channels=channels, padding=1, groups=32),
    gate=lambda channels: {},
    additive=lambda channels: {},
)
_DOORS = dict(gate=('insert', 'plugins'), additive=('insert', 'plugins'), convolution=('dcn', 'conv_cfg'))
_SOURCE = re.compile(r'`([A-Z][^`<]*?),?\s+(?:[A-Z]\w+\s)?(\d{4})\s*<(http[^>]+)>`_', re.DOTALL)


@dataclass(frozen=True)
class Row:
    """What is known of a block.

    Attributes:
        name: As it is registered.
        authors, year, link: Of the paper, from its docstring.
        summary: The first line of its docstring.
        costs: By the channels of :data:`MAPS`; ``None`` where it is built of other blocks.
        paper_is_identity: Whether the published start changes nothing either.
        doors: Settings of MMDetection and of this package that take it.
    """

    name: str
    authors: str
    year: int
    link: str
    summary: str
    costs: dict[int, BlockCost] | None
    paper_is_identity: bool
    doors: tuple[str, ...]


def block_rows() -> list[Row]:
    """A row for each registered block, the oldest paper first.

    Raises:
        ValueError: A docstring without its source.
    """
    MODELS.import_from_location()
    classes = {
        name: cls
        for name, cls in MODELS.module_dict.items()
        if inspect.isclass(cls) and issubclass(cls, AttentionBlock)
    }
    rows = [_row(name, cls) for name, cls in classes.items()]
    return sorted(rows, key=lambda row: (row.costs is None, row.year, row.name.lower()))


def _row(name: str, cls: type[AttentionBlock]) -> Row:
    doc = inspect.getdoc(cls) or ''
    source = _SOURCE.search(doc)
    if source is None:
        raise ValueError(f'the docstring of {name} names no paper as `Authors, VENUE YEAR <link>`_')
    authors, year, link = source.groups()
    parameters = inspect.signature(cls).parameters
    made_of_others = any(
        p.default is p.empty for key, p in parameters.items() if key not in ('in_channels', 'out_channels')
    )
    role = 'additive' if made_of_others else cls.role
    costs, identity = None, False
    if not made_of_others:
        options = {channels: {**one_frame(cls), **_OPTIONS[role](channels)} for channels in MAPS}
        costs = {
            channels: block_cost(cls, channels, size, **options[channels]) for channels, size in MAPS.items()
        }
        identity = bool(cls(256, **options[256]).paper_is_identity)
    return Row(
        name,
        ' '.join(authors.split()),
        int(year),
        link,
        doc.splitlines()[0].rstrip('.'),
        costs,
        identity,
        _DOORS[role],
    )


def markdown_table(rows: list[Row]) -> str:
    """The rows as Markdown."""
    lines = [
        '| block | paper | what it attends to | parameters | million operations | `start` | doors |',
        '|---|---|---|---|---|---|---|',
    ]
    for row in rows:
        what = row.summary.partition(': ')[2] or row.summary
        if row.costs is None:
            costs = ['of its parts'] * 2
        else:
            costs = [
                ' / '.join(f'{cost.parameters:,}' for cost in row.costs.values()),
                ' / '.join(_million(cost.ops) for cost in row.costs.values()),
            ]
        starts = ['paper (= identity)' if row.paper_is_identity else 'paper', 'identity']
        paper = f'[{row.authors}, {row.year}]({row.link})' if row.costs else '-'
        cells = [
            f'`{row.name}`',
            paper,
            what,
            *costs,
            ', '.join(starts),
            ', '.join(f'`{door}`' for door in row.doors),
        ]
        lines.append(f'| {" | ".join(cells)} |')
    return '\n'.join(lines) + '\n'


def _million(number: int) -> str:
    return f'{number / 1e6:,.0f}' if number >= 1e8 else f'{number / 1e6:.1f}'
