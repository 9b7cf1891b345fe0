"""Draw a contact sheet of data sets: images with their boxes, for a person to see whether they lie right."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from PIL import Image, ImageDraw

from mmattn.engine.data.examination import Examination
from mmattn.engine.data.values import is_finite
from mmattn.visualization.dataset_image import dataset_image
from mmattn.visualization.drawing import COLOURS, draw_boxes, label_font
from mmattn.visualization.image_files import evenly_spread

_TILE, _CAPTION, _COLUMNS = 320, 18, 4


def data_sheet(datasets: Sequence[Examination], limit: int = 12) -> Image.Image:
    """Return a sheet with images of each data set, as its pipeline decodes them, and their boxes.

    Images that EXIF turns without a change of their size come first, then others that have boxes, evenly
    spread.

    Args:
        datasets: The data sets, as examined.
        limit: At most so many images of each.
    """
    tiles: list[Image.Image] = []
    for data in datasets:
        images = [_tile(data, image, boxes) for image, boxes in _chosen(data, limit)]
        tiles += images + [_blank()] * (-len(images) % _COLUMNS)  # each data set begins a row
    rows = max(1, math.ceil(len(tiles) / _COLUMNS))
    sheet = Image.new('RGB', (_COLUMNS * _TILE, rows * (_TILE + _CAPTION)), 'white')
    for i, tile in enumerate(tiles):
        sheet.paste(tile, (i % _COLUMNS * _TILE, i // _COLUMNS * (_TILE + _CAPTION)))
    return sheet


def _chosen(data: Examination, limit: int) -> list[tuple[dict, list[dict]]]:
    boxes = defaultdict(list)
    for annotation in data.annotations:
        if _is_box(annotation.get('bbox')):
            # without a score, which annotations have none of, whatever some exporters write
            drawn = {key: annotation[key] for key in ('bbox', 'category_id', 'iscrowd') if key in annotation}
            boxes[annotation['image_id']].append(drawn)
    turned = set(data.turned)
    first = [image for image in data.images if image['file_name'] in turned]
    others = [image for image in data.images if image['file_name'] not in turned]
    others = [image for image in others if image['id'] in boxes] or others
    chosen = evenly_spread(first, limit // 2) if first else []
    chosen += evenly_spread(others, limit - len(chosen))
    return [(image, boxes[image['id']]) for image in chosen]


def _is_box(box: Any) -> bool:
    return (
        isinstance(box, list)
        and len(box) == 4
        and all(type(value) in (int, float) and is_finite(value) for value in box)
    )


def _tile(data: Examination, image: dict, boxes: list[dict]) -> Image.Image:
    tile = _blank()
    name = str(image['file_name'])
    part = data.source.where.partition('_')[0]
    try:
        pixels = dataset_image(data.source, name)
    except (OSError, ValueError) as error:
        caption = f'{part}: {name}: {error}'
    else:
        scale = _TILE / max(pixels.shape[:2])
        size = [max(1, round(side * scale)) for side in pixels.shape[1::-1]]
        drawn = Image.fromarray(pixels).resize(size)
        names = {category['id']: str(category['name']) for category in data.categories}
        names.update((box['category_id'], '?') for box in boxes if box['category_id'] not in names)
        colours = {own: COLOURS[i % len(COLOURS)] for i, own in enumerate(names)}
        draw_boxes(drawn, boxes, names, colours, scale)
        tile.paste(drawn, (0, 0))
        caption = f'{part}: {name} {pixels.shape[1]}x{pixels.shape[0]}, {len(boxes)} boxes'
    ImageDraw.Draw(tile).text((2, _TILE + 2), _fitting(caption), 'black', label_font())
    return tile


def _blank() -> Image.Image:
    return Image.new('RGB', (_TILE, _TILE + _CAPTION), 'white')


def _fitting(text: str) -> str:
    """Return the end of a text that fits below an image: names differ at their end."""
    while label_font().getlength(text) > _TILE - 4:
        text = '…' + text[2:]
    return text
