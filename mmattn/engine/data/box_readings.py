"""Other ways in which converters write boxes, and how to tell them from COCO's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from mmattn.engine.data.boxes import Boxes
from mmattn.engine.data.examination import Examination
from mmattn.engine.data.findings import REFUSE, SEE, TELL, Finding
from mmattn.engine.data.values import box_of_polygons

_CERTAIN = 0.99
"""Another reading must suit this share of the boxes."""


def _corners(boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1)


def _centres(boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    return np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, 2:]], 1)


def _rows_first(boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    return boxes[:, [1, 0, 3, 2]]


def _corners_rows_first(boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    return _corners(_rows_first(boxes, sizes), sizes)


_Reading = Callable[[np.ndarray, np.ndarray], np.ndarray]
_PIXELS: dict[str, tuple[_Reading, float]] = {
    'two corners (x1, y1, x2, y2), as VOC has them': (_corners, 0.1),
    'a centre and a size (x, y, width, height)': (_centres, 0.25),
    'rows before columns (y, x, height, width)': (_rows_first, 0.25),
    'two corners with rows before columns (y1, x1, y2, x2)': (_corners_rows_first, 0.25),
}
"""Readings, and which share of the boxes must leave the image in COCO's reading to doubt it: a small box may
leave it by a mistake and fit as a centre by chance."""
_FRACTIONS: dict[str, _Reading] = {
    "fractions of the image's size (centre x, centre y, width, height), as YOLO has them": _centres,
    "fractions of the image's size (x, y, width, height)": lambda boxes, sizes: boxes,
    "fractions of the image's size (x1, y1, x2, y2)": _corners,
}


def boxes_are_as_coco_has_them(data: Examination) -> Iterator[Finding]:
    """Boxes are x, y, width and height in pixels, not two corners, fractions or anything else."""
    yield from find_reading(data.boxes, data.images)
    if not any(data.of(REFUSE)):
        yield from _other_than_polygons(data.boxes)


def find_reading(boxes: Boxes, images: Sequence[dict]) -> Iterator[Finding]:
    """Yield that boxes leave their images, with how they seem to be written."""
    known = np.isfinite(boxes.sizes).all(1) & (boxes.numbers[:, 2:] >= 0).all(1) & ~boxes.ignored
    if not known.any():
        return
    numbers, sizes, where = boxes.numbers[known], boxes.sizes[known], np.flatnonzero(known)
    count = len(numbers)
    within_1 = ((numbers >= 0) & (numbers <= 1.001)).all(1)
    if within_1.mean() >= _CERTAIN and (sizes > 8).all():
        name, read = max(_FRACTIONS.items(), key=lambda item: _fits(item[1](numbers, sizes), 1.0).sum())
        meant = read(numbers, sizes) * np.tile(sizes, 2)
        yield _refuse(boxes, images, where, within_1, 'lie within 0 and 1, under a pixel', name, meant)
        return
    leaving = ~_fits(numbers, sizes)
    leave = 'leave their image by more than 2 pixels and 1 %'
    name, (read, doubt) = max(
        _PIXELS.items(), key=lambda item: _fits(item[1][0](numbers, sizes), sizes).sum()
    )
    share = leaving.mean()
    # of many boxes in COCO's reading, some would lie at an edge where they fit in no other one
    doubt = doubt if count < 100 else doubt / 10
    doubted = share >= doubt or (leaving.any() and read is _corners and count >= 10)
    if doubted and _fits(read(numbers, sizes), sizes).mean() >= _CERTAIN:
        yield _refuse(boxes, images, where, leaving, leave, name, read(numbers, sizes))
    elif leaving.any():
        yield Finding(
            REFUSE if share > 0.5 else TELL,
            f'{leaving.sum()} of {count} boxes {leave}',
            boxes.named(_at(where[leaving], len(boxes))),
            'Are they those of images of another size?' if share > 0.5 else '',
        )
    elif count >= 20 and (numbers[:, 2:] > numbers[:, :2]).all():
        yield Finding(TELL, f'all {count} boxes could also be two corners (x1, y1, x2, y2)', remedy=SEE)
    elif count >= 20 and (sizes > 300).all() and (numbers[:, :2] + numbers[:, 2:] <= 101).all():
        yield Finding(
            TELL, f'all {count} boxes lie in the first 100 rows and columns, as percentages would', remedy=SEE
        )


def _refuse(boxes, images, where, which, what, name, meant) -> Finding:
    i = np.flatnonzero(which)[0]
    annotation, image = boxes.annotations[where[i]], images[boxes.images[where[i]]]
    right = [round(float(value), 2) for value in meant[i]]
    return Finding(
        REFUSE,
        f'{which.sum()} of {len(which)} boxes {what}: the numbers look like {name}. Annotation '
        f"{annotation.get('id')} on '{image['file_name']}' ({image['width']}x{image['height']}) has "
        f'{annotation["bbox"]}; if so, it would be {right} in COCO format',
        remedy='Write x, y, width and height in pixels',
    )


def _other_than_polygons(boxes: Boxes) -> Iterator[Finding]:
    """Yield that boxes are not those around their own polygons."""
    around = [box_of_polygons(annotation.get('segmentation')) for annotation in boxes.annotations]
    which = np.array([box is not None for box in around], bool)
    if not which.any():
        return
    polygons = np.array([box for box in around if box is not None], float)
    numbers, sizes = boxes.numbers[which], boxes.sizes[which]
    tolerance = 2 + 0.05 * np.abs(polygons[:, 2:]).max(1)
    other = np.abs(numbers - polygons).max(1) > tolerance
    if other.sum() < max(1, 0.1 * len(polygons)):
        return
    named = boxes.named(_at(np.flatnonzero(which)[other], len(boxes)))
    for name, (read, _) in _PIXELS.items():
        if (np.abs(read(numbers, sizes) - polygons).max(1) <= tolerance).mean() >= _CERTAIN:
            yield Finding(
                REFUSE,
                f'{other.sum()} of {len(polygons)} boxes are not those around their polygons: the numbers '
                f'look like {name}',
                named,
                'Write x, y, width and height in pixels',
            )
            return
    yield Finding(TELL, f'{other.sum()} of {len(polygons)} boxes are not those around their polygons', named)


def _fits(boxes: np.ndarray, sizes: np.ndarray | float) -> np.ndarray:
    """Return which boxes have a size and lie in their image, but for rounding."""
    slack = 0.01 * sizes + (2 if np.ndim(sizes) else 0)
    xy, wh = boxes[:, :2], boxes[:, 2:]
    return (xy >= -slack).all(1) & (xy + wh <= sizes + slack).all(1) & (wh >= 0).all(1)


def _at(where: np.ndarray, count: int) -> np.ndarray:
    which = np.zeros(count, bool)
    which[where] = True
    return which
