"""Draw labelled boxes and masks on an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

COLOURS = (
    '#e6194b',
    '#1e6edc',
    '#f58b12',
    '#2a9d3c',
    '#8e3cc8',
    '#00a0aa',
    '#d4af00',
    '#f032e6',
    '#7a4a10',
    '#5c6b73',
)
_LINE = 15
_BEYOND = 8
_MASK_OPACITY = 110  # of 255


@cache
def label_font() -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    """Return the font of labels and captions."""
    return ImageFont.load_default(12)


def draw_boxes(
    image: Image.Image,
    boxes: Sequence[Mapping[str, Any]],
    names: Mapping[int, str],
    colours: Mapping[int, str],
    scale: float = 1.0,
) -> None:
    """Draw boxes into ``image``, with labels that do not cover each other.

    Args:
        image: The image to draw into.
        boxes: Boxes as in COCO: ``bbox`` (x, y, w, h), ``category_id``, and optionally ``score`` and
            ``iscrowd``.
        names: Name of each category.
        colours: Colour of each category.
        scale: Size of a pixel of the boxes in pixels of the image.
    """
    draw = ImageDraw.Draw(image)
    labels = []
    for box in sorted(boxes, key=lambda box: box.get('score', 1)):  # highest score on top
        x, y, w, h = (value * scale for value in box['bbox'])
        w, h = max(w, 2), max(h, 2)  # a smaller box has no inside to draw around
        colour = colours[box['category_id']]
        # Pillow walks along an edge pixel by pixel, also where there is no image.
        x, right = (min(max(value, -_BEYOND), image.width + _BEYOND) for value in (x, x + w))
        y, bottom = (min(max(value, -_BEYOND), image.height + _BEYOND) for value in (y, y + h))
        if right - x >= 2 and bottom - y >= 2:  # not all of it is outside
            draw.rectangle((x, y, right, bottom), outline='white', width=4)
            draw.rectangle((x + 1, y + 1, right - 1, bottom - 1), outline=colour, width=2)
        labels.append((x, y, _label(box, names), colour))
    taken: list[tuple[float, float, float]] = []
    for x, y, text, colour in reversed(labels):
        width = draw.textlength(text, label_font()) + 4
        left, top = _free_position(x, y, width, image.size, taken)
        taken.append((top, left, left + width))
        draw.rectangle((left, top, left + width, top + _LINE - 1), fill=colour)
        draw.text((left + 2, top), text, 'white', label_font())


def draw_masks(image: Image.Image, masks: Sequence[np.ndarray], colours: Sequence[str]) -> None:
    """Colour the pixels of masks in ``image``, so that the image shows through.

    Args:
        image: The image to draw into.
        masks: A mask ``(h, w)`` of truth values for each object, at any size.
        colours: Colour of each object.
    """
    for mask, colour in zip(masks, colours):
        share = Image.fromarray(np.where(mask, _MASK_OPACITY, 0).astype(np.uint8)).resize(image.size)
        image.paste(colour, (0, 0), share)


def _label(box: Mapping[str, Any], names: Mapping[int, str]) -> str:
    text = names[box['category_id']]
    if box.get('iscrowd'):
        text += ' (crowd)'
    if 'score' in box:
        text += f' {box["score"]:.2f}'
    return text


def _free_position(
    x: float,
    y: float,
    width: float,
    size: tuple[int, int],
    taken: Sequence[tuple[float, float, float]],
) -> tuple[float, float]:
    """Return left and top for a label above ``(x, y)``: inside the image and, if possible, over no other.

    Args:
        x: Left edge of the box.
        y: Top edge of the box.
        width: Width of the label.
        size: Width and height of the image.
        taken: Top, left and right edges of the labels drawn so far.
    """
    left = min(max(x, 0), size[0] - width)
    top = min(max(y - _LINE, 0), size[1] - _LINE)
    while (
        any(abs(top - there) < _LINE and left < end and start < left + width for there, start, end in taken)
        and top + 2 * _LINE <= size[1]
    ):
        top += _LINE
    return left, top
