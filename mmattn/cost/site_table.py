"""List the sites of a model and what blocks would cost there: the table of tools/sites.py."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from rich.markup import escape
from rich.table import Table
from torch import nn

from mmattn.cost.count_block import BlockCost, block_cost
from mmattn.insertion.globs import glob_match, nearest_names
from mmattn.insertion.site import CONV, MODULE, Site
from mmattn.insertion.site_search import find_sites
from mmattn.registry import MODELS


@dataclass(frozen=True)
class SiteRow:
    """One row of the table: a site, or several similar ones.

    Attributes:
        at: Value of a rule's ``at`` that selects exactly these sites.
        sites: Number of sites.
        site: The first of them.
        costs: Cost of each block at one of them, by the block's name; ``None`` if the map's size is unknown.
        blocks: Class names of the blocks that are there now.
    """

    at: str
    sites: int
    site: Site
    costs: dict[str, BlockCost | None]
    blocks: tuple[str, ...] = ()

    def as_json(self) -> dict:
        """Return plain types."""
        site = self.site
        return dict(
            at=self.at,
            module=site.path,
            kind=site.part,
            channels=site.channels,
            stride=site.stride,
            size=site.size,
            aliases=site.aliases,
            holds=self.blocks,
            costs={name: cost and asdict(cost) for name, cost in self.costs.items()},
        )


def site_rows(
    model: nn.Module,
    globs: Sequence[str] = (),
    size: tuple[int, int] = (800, 1344),
    blocks: Sequence[str] = ('SE', 'ECA', 'CBAM'),
) -> list[SiteRow]:
    """Return a row for each site of ``model``.

    Args:
        model: A detector.
        globs: Only sites with a name that matches one of these.
        size: Height and width of the image.
        blocks: Names of the blocks whose cost is counted.

    Raises:
        ValueError: If a glob matches no site, or a block needs more arguments than its channels.
        KeyError: If there is no such block.
    """
    table = find_sites(model, size)
    for glob in globs:
        if not any(glob_match(glob, name) for name in table.names):
            refused = next((name for name in table.refused if glob_match(glob, name)), None)
            near = nearest_names(glob, table.names)
            raise ValueError(
                f'no site matches {glob!r}'
                + (f"; '{refused}' does, but {table.refused[refused]}" if refused else '')
                + (f'; nearest: {", ".join(near)}' if near else '')
            )
    classes = {name: MODELS.get(name) for name in blocks}
    for name, cls in classes.items():
        lacking = [
            p.name
            for p in inspect.signature(cls).parameters.values()
            if p.default is p.empty and p.name != 'in_channels'
        ]
        if lacking:
            raise ValueError(
                f'the cost of {name} depends on {", ".join(map(repr, lacking))}; costs can be shown of '
                'blocks that need only the number of channels'
            )
    cached: dict[tuple, dict[str, BlockCost | None]] = {}
    blocks_at: dict[str, tuple[str, ...]] = {}
    if hasattr(model, 'attention'):
        for site, _, block in model.attention.blocks():
            blocks_at[site.name] = (*blocks_at.get(site.name, ()), type(block).__name__)
    rows = []
    for site in table.sites:
        if globs and not any(glob_match(glob, name) for glob in globs for name in (site.name, *site.aliases)):
            continue
        key = site.channels, site.size
        if key not in cached:
            cached[key] = {
                name: site.size and block_cost(cls, site.channels, site.size) for name, cls in classes.items()
            }
        rows.append(SiteRow(_spelling(site, table.names), 1, site, cached[key], blocks_at.get(site.name, ())))
    return rows


def _spelling(site: Site, names: dict) -> str:
    """Return the virtual name if it is this site's alone, else the site's own name."""
    return next((alias for alias in site.aliases if len(names[alias]) == 1 and alias != site.path), site.name)


def without_plain_modules(rows: list[SiteRow]) -> list[SiteRow]:
    """Return the rows without convolutions and other modules, except those that have a block."""
    return [row for row in rows if row.site.part not in (CONV, MODULE) or row.blocks]


def group_similar(rows: list[SiteRow]) -> list[SiteRow]:
    """Merge successive rows that differ only in one number of their names."""
    names = [row.at for row in rows]
    groups: list[list[SiteRow]] = []
    for row in rows:
        if groups and _alike(groups[-1][0], row) and _glob([*(r.at for r in groups[-1]), row.at], names):
            groups[-1].append(row)
        else:
            groups.append([row])
    return [
        group[0]
        if len(group) == 1
        else replace(group[0], at=_glob([row.at for row in group], names), sites=len(group))
        for group in groups
    ]


def _alike(one: SiteRow, other: SiteRow) -> bool:
    return (
        all(getattr(one.site, name) == getattr(other.site, name) for name in ('part', 'channels', 'size'))
        and one.blocks == other.blocks
    )


def _glob(group: list[str], names: list[str]) -> str | None:
    """Return a glob that matches ``group`` and no other of ``names``; ``None`` if none is found."""
    split = [name.split('.') for name in group]
    if len({len(each) for each in split}) > 1:
        return None
    differ = [i for i, parts in enumerate(zip(*split)) if len(set(parts)) > 1]
    if len(differ) != 1 or not all(re.fullmatch(r'\d+', each[differ[0]]) for each in split):
        return None
    numbers = [int(each[differ[0]]) for each in split]
    wanted = f'[{numbers[0]}-{numbers[-1]}]' if numbers[-1] < 10 else '*'
    glob = '.'.join([*split[0][: differ[0]], wanted, *split[0][differ[0] + 1 :]])
    exact = [name for name in names if glob_match(glob, name)] == group
    # while a group with two-digit numbers grows, '*' also matches its later members
    return glob if exact or (wanted == '*' and numbers == list(range(numbers[0], numbers[-1] + 1))) else None


def render_site_rows(rows: list[SiteRow], title: str) -> Table:
    """Return a table for the screen."""
    table = Table(title=title, title_justify='left', header_style='bold')
    blocks = list(rows[0].costs) if rows else []
    any_blocks = any(row.blocks for row in rows)
    for name in ('at', 'kind', *(['blocks'] if any_blocks else [])):
        table.add_column(name, overflow='fold')
    for name in ('sites', 'channels', 'stride', 'map', *(f'+{name}' for name in blocks)):
        table.add_column(name, justify='right', no_wrap=True)
    for row in rows:
        site = row.site
        map_size = f'{site.size[0]}x{site.size[1]}' if site.size else '-'
        table.add_row(
            escape(row.at),
            site.part,
            *([', '.join(row.blocks)] if any_blocks else []),
            str(row.sites),
            str(site.channels),
            str(site.stride or '-'),
            map_size,
            *(f'{cost.parameters:,} / {cost.ops / 1e6:.1f}' if cost else '-' for cost in row.costs.values()),
        )
    return table
