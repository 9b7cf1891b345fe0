"""List all blocks with paper, cost and use: the table in README.md and docs/blocks.md."""

from __future__ import annotations

import inspect
import re
from dataclasses import asdict, dataclass

from mmattn.blocks import AttentionBlock
from mmattn.cost.count_block import BlockCost, block_cost
from mmattn.registry import MODELS

MAPS = {256: (200, 336), 512: (100, 168), 1024: (50, 84), 2048: (25, 42)}
"""Height and width of the maps of a ResNet-50 on an 800x1344 image, by their channels."""
# constructor arguments beyond the channels, and the config settings that take a block, by the block's role
_OPTIONS = dict(
    convolution=lambda channels: dict(out_channels=channels, padding=1, groups=32),
    gate=lambda channels: {},
    additive=lambda channels: {},
)
_SETTINGS = dict(gate=('insert', 'plugins'), additive=('insert', 'plugins'), convolution=('dcn', 'conv_cfg'))
_SOURCE = re.compile(r'`([A-Z][^`<]*?),?\s+(?:[A-Z]\w+\s)?(\d{4})\s*<(http[^>]+)>`_', re.DOTALL)


@dataclass(frozen=True)
class BlockRow:
    """One block of the table.

    Attributes:
        name: Name in the registry.
        authors: Authors of the paper.
        year: Year of the paper.
        link: Link to the paper.
        summary: First line of the block's docstring.
        costs: Cost on each map of a ResNet-50, by channels; ``None`` if the block is built from other blocks.
        paper_is_identity: True if ``start='paper'`` is an identity too.
        settings: Config settings of MMDetection and of this package that take the block.
    """

    name: str
    authors: str
    year: int
    link: str
    summary: str
    costs: dict[int, BlockCost] | None
    paper_is_identity: bool
    settings: tuple[str, ...]

    def as_json(self) -> dict:
        """Return plain types."""
        row = asdict(self)
        row['doors'] = row.pop('settings')
        return row


def block_rows() -> list[BlockRow]:
    """Return a row for each registered block, oldest paper first.

    Raises:
        ValueError: If a block's docstring does not name its paper.
    """
    MODELS.import_from_location()
    classes = {
        name: cls
        for name, cls in MODELS.module_dict.items()
        if inspect.isclass(cls) and issubclass(cls, AttentionBlock)
    }
    rows = [_row(name, cls) for name, cls in classes.items()]
    return sorted(rows, key=lambda row: (row.costs is None, row.year, row.name.lower()))


def _row(name: str, cls: type[AttentionBlock]) -> BlockRow:
    doc = inspect.getdoc(cls) or ''
    source = _SOURCE.search(doc)
    if source is None:
        raise ValueError(f'the docstring of {name} names no paper as `Authors, VENUE YEAR <link>`_')
    authors, year, link = source.groups()
    parameters = inspect.signature(cls).parameters
    takes_blocks = any(
        p.default is p.empty for key, p in parameters.items() if key not in ('in_channels', 'out_channels')
    )
    role = 'additive' if takes_blocks else cls.role
    costs, identity = None, False
    if not takes_blocks:
        options = {channels: _OPTIONS[role](channels) for channels in MAPS}
        costs = {
            channels: block_cost(cls, channels, size, **options[channels]) for channels, size in MAPS.items()
        }
        identity = bool(cls(256, **options[256]).paper_is_identity)
    return BlockRow(
        name,
        ' '.join(authors.split()),
        int(year),
        link,
        doc.splitlines()[0].rstrip('.'),
        costs,
        identity,
        _SETTINGS[role],
    )


def blocks_to_markdown(rows: list[BlockRow]) -> str:
    """Return the short Markdown table: each block's paper, purpose and cost at the narrowest map."""
    narrow = min(MAPS)
    lines = [
        f'| block | paper | what it attends to | parameters at C = {narrow} | million operations there |',
        '|---|---|---|--:|--:|',
    ]
    for row in rows:
        cost = row.costs and row.costs[narrow]
        numbers = [f'{cost.parameters:,}', _million(cost.ops)] if cost else ['of its parts'] * 2
        lines.append(_line(f'`{row.name}`', _paper(row), _attends_to(row), *numbers))
    return '\n'.join(lines) + '\n'


def block_uses_to_markdown(rows: list[BlockRow]) -> str:
    """Return the Markdown table of papers, starts and the config settings that take each block."""
    lines = ['| block | paper | what it attends to | `start` | goes into |', '|---|---|---|---|---|']
    for row in rows:
        starts = 'paper (= identity), identity' if row.paper_is_identity else 'paper, identity'
        settings = ', '.join(f'`{setting}`' for setting in row.settings)
        lines.append(_line(f'`{row.name}`', _paper(row), _attends_to(row), starts, settings))
    return '\n'.join(lines) + '\n'


def block_costs_to_markdown(rows: list[BlockRow]) -> str:
    """Return the Markdown table of parameters and of million operations, one column per width."""
    widths = [str(channels) for channels in MAPS]
    lines = [
        _line('block', *(f'parameters, {w}' for w in widths), *(f'million operations, {w}' for w in widths)),
        '|---' + '|--:' * 2 * len(widths) + '|',
    ]
    for row in rows:
        if row.costs is not None:
            parameters = [f'{cost.parameters:,}' for cost in row.costs.values()]
            lines.append(_line(f'`{row.name}`', *parameters, *(_million(c.ops) for c in row.costs.values())))
    return '\n'.join(lines) + '\n'


def _line(*cells: str) -> str:
    return f'| {" | ".join(cells)} |'


def _paper(row: BlockRow) -> str:
    return f'[{row.authors}, {row.year}]({row.link})' if row.costs else '-'


def _attends_to(row: BlockRow) -> str:
    return row.summary.partition(': ')[2] or row.summary


def _million(number: int) -> str:
    return f'{number / 1e6:,.0f}' if number >= 1e8 else f'{number / 1e6:.1f}'
