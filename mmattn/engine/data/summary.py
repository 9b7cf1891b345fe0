"""What data sets hold, as tables: images, boxes by size and class, and what is odd about them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.markup import escape
from rich.table import Table

from mmattn.engine.data.boxes import MEDIUM, SMALL
from mmattn.engine.data.examination import Examination

_COLUMNS = ('images', 'without boxes', 'boxes', 'small', 'medium', 'large', 'left out', 'sizes')


def set_table(datasets: Sequence[Examination]) -> Table:
    """Return a table with a row for each data set: images, boxes by COCO's sizes, and sizes of the images."""
    table = Table('data set', title='boxes that MMDetection trains on, by their area as in COCO')
    for column in _COLUMNS:
        table.add_column(column, justify='right')
    for data in datasets:
        table.add_row(escape(data.source.where), *_cells(data))
    return table


def class_table(datasets: Sequence[Examination]) -> Table:
    """Return a table with a row for each class: how many boxes each data set has of it."""
    table = Table('class', title='boxes of each class')
    counts = []
    for data in datasets:
        table.add_column(escape(data.source.where), justify='right')
        counts.append(_class_counts(data))
    for name in dict.fromkeys(name for data in datasets for name in data.source.classes):
        table.add_row(escape(name), *(str(count.get(name, '')) for count in counts))
    return table


def _cells(data: Examination) -> list[str]:
    sizes = {(image.get('width'), image.get('height')) for image in data.images}
    sizes.discard((None, None))
    shown = [f'{width}x{height}' for width, height in sorted(sizes, key=_area)]
    cells: list[Any] = [len(data.images)]
    if data.has_boxes:
        usable = data.boxes.usable()
        areas = data.boxes.areas[usable]
        cells += [len(data.images) - len(set(data.boxes.images[usable])), usable.sum()]
        cells += [(areas < SMALL).sum(), ((areas >= SMALL) & (areas < MEDIUM)).sum(), (areas >= MEDIUM).sum()]
        cells.append((~usable).sum())
    else:
        cells += ['?'] * 6
    cells.append(' to '.join(dict.fromkeys((*shown[:1], *shown[-1:]))) or '?')
    return [str(cell) for cell in cells]


def _area(size: tuple[Any, Any]) -> float:
    return (size[0] or 0) * (size[1] or 0)


def _class_counts(data: Examination) -> dict[str, int]:
    if not data.has_boxes:
        return {}
    count = np.bincount(data.boxes.labels[data.boxes.usable()], minlength=len(data.source.classes))
    return dict(zip(data.source.classes, map(int, count)))
