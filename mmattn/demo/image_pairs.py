"""Draw images with ground truth beside detections, and put them on one sheet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from mmengine.fileio import load
from PIL import Image

from mmattn.files import write_file
from mmattn.visualization.drawing import COLOURS, draw_boxes
from mmattn.visualization.image_files import evenly_spread
from mmattn.visualization.side_by_side import side_by_side

_GAP = 24

Pair = tuple[str, Image.Image]
"""File name of an image, and the image with ground truth on the left and with detections on the right."""


def draw_pairs(
    ann_file: str | Path,
    image_root: str | Path,
    detections: str | Path,
    limit: int = 12,
    score_thr: float = 0.4,
    width: int = 320,
) -> list[Pair]:
    """Draw images of a data set with ground truth on the left and detections on the right.

    Args:
        ann_file: Annotations in COCO format.
        image_root: Folder that the file names in the annotations are relative to.
        detections: Detections in COCO's result format.
        limit: Draw at most this many images, evenly spread over the data set; 0 draws all.
        score_thr: Leave out detections with a lower score.
        width: Width in pixels that each image is scaled to.
    """
    truth = load(str(ann_file), file_format='json')
    found = [box for box in load(str(detections), file_format='json') if box['score'] >= score_thr]
    names = {category['id']: category['name'] for category in truth['categories']}
    colours = {key: COLOURS[index % len(COLOURS)] for index, key in enumerate(names)}
    pairs = []
    for entry in evenly_spread(truth['images'], limit):
        sides = {
            caption: [box for box in boxes if box['image_id'] == entry['id']]
            for caption, boxes in (('ground truth', truth['annotations']), ('detections', found))
        }
        with Image.open(Path(image_root) / entry['file_name']) as image:
            image = image.convert('RGB')
        pairs.append((entry['file_name'], _side_by_side(image, sides, names, colours, width)))
    return pairs


def _side_by_side(
    image: Image.Image,
    sides: Mapping[str, Sequence[Mapping[str, Any]]],
    names: Mapping[int, str],
    colours: Mapping[int, str],
    width: int,
) -> Image.Image:
    """Draw ``image`` once per side, each with that side's boxes and caption."""
    height = round(image.height * width / image.width)
    scaled = image.resize((width, height), Image.Resampling.BICUBIC)
    panels = []
    for caption, boxes in sides.items():
        side = scaled.copy()
        draw_boxes(side, boxes, names, colours, width / image.width)
        panels.append((f'{caption} ({len(boxes)})', side))
    return side_by_side(panels)


def write_sheet(pairs: Sequence[Pair], path: str | Path, columns: int = 2) -> None:
    """Write the pairs as one PNG.

    Raises:
        ValueError: If there are no pairs.
    """
    if not pairs:
        raise ValueError(f"no images to put on the sheet '{path}': is the data set empty?")
    rows = -(-len(pairs) // columns)
    width, height = (max(sizes) for sizes in zip(*(image.size for _, image in pairs)))
    sheet = Image.new('RGB', (columns * (width + _GAP) + _GAP, rows * (height + _GAP) + _GAP), 'white')
    for index, (_, image) in enumerate(pairs):
        row, column = divmod(index, columns)
        sheet.paste(image, (_GAP + column * (width + _GAP), _GAP + row * (height + _GAP)))
    write_file(path, partial(sheet.save, format='PNG'))
