"""Draw one image of the shapes data set, and annotate what is in it.

A class is a texture on a shape, so neither alone tells classes apart. Distractors have the right
shape with a wrong texture, or the right texture on a wrong shape, and are not labelled.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from shapely.geometry import Polygon, box
from shapely.geometry.base import BaseGeometry
from shapely.ops import unary_union

from mmattn.datasets import drawing
from mmattn.datasets.coco_annotation import annotate

SHAPES = ('circle', 'cross', 'triangle')
TEXTURES = ('striped', 'dotted')
CLASSES = tuple(f'{texture} {shape}' for shape in SHAPES for texture in TEXTURES)
"""Names of the classes; a label is an index into them."""

_LOOKALIKES = tuple((texture, shape) for shape in SHAPES for texture in ('plain', 'checked')) + tuple(
    (texture, shape) for shape in ('star', 'square', 'bar') for texture in TEXTURES
)

REFERENCE_SIZE = 256
"""Width of the images for which the lengths here are given in pixels; they scale with other widths."""

COCO_LIMITS = (32, 96)
"""Sides of the squares whose areas are COCO's limits between small, medium and large."""

_SIDES = ((24, 31), (33, 95), (100, 140))
_SIDE_SHARES = (0.25, 0.55, 0.2)
_CROWD_SIDES = (18, 26)
# A texture is like a material: equally fine on small and large things.
_PERIODS = (8.0, 11.0)
MIN_VISIBLE = 0.75
"""Share of each item that can be seen. An item that leaves less is put elsewhere or left out."""

_MIN_INSIDE = 0.85
_EMPTY_SHARE = 0.06
_CROWD_SHARE = 0.08
_TRIES = 40
# Shapes stand upright, as most things in photographs do, but never quite.
_TILT = np.deg2rad(15)


@dataclass
class Item:
    """An object in a scene, a crowd of objects, or a distractor.

    Attributes:
        label: Index into ``CLASSES``; None for a distractor.
        texture: Name of its texture.
        parts: Corners of each member, in painting order.
        full: Its geometry when nothing hides it.
        visible: What can be seen of it.
        crowd: True if it is a crowd.
    """

    label: int | None
    texture: str
    parts: list[np.ndarray]
    full: BaseGeometry
    visible: BaseGeometry
    crowd: bool = False


def area_limits(size: int) -> tuple[float, ...]:
    """Return the areas in square pixels at which small ends and large begins, for images of this width."""
    return tuple((limit * size / REFERENCE_SIZE) ** 2 for limit in COCO_LIMITS)


def make_scene(rng: np.random.Generator, size: int) -> tuple[np.ndarray, list[dict]]:
    """Draw one image.

    Args:
        rng: The only source of random numbers.
        size: Width and height in pixels.

    Returns:
        The RGB image ``(size, size, 3)``, and a list of dicts with ``label`` (index into ``CLASSES``) and
        COCO's ``bbox``, ``area``, ``segmentation`` and ``iscrowd``. Boxes and segmentations cover what can
        be seen of the object, as COCO's do.
    """
    canvas = drawing.blank(size)
    drawing.paint_background(canvas, rng)
    items = []
    for plan in _plan(rng, size / REFERENCE_SIZE):
        _place(items, plan, rng, size)
    for item in items:
        _paint(canvas, item, rng, size / REFERENCE_SIZE)
    annotations = [
        dict(label=item.label, **annotate(item.visible, item.crowd, size))
        for item in items
        if item.label is not None
    ]
    return drawing.finish(canvas), annotations


@dataclass
class _Plan:
    label: int | None
    texture: str
    shape: str
    side: float
    crowd: bool = False


def _plan(rng: np.random.Generator, scale: float) -> list[_Plan]:
    """Choose what the scene shall show, from back to front."""
    labels = [] if rng.random() < _EMPTY_SHARE else rng.integers(0, len(CLASSES), rng.integers(3, 8)).tolist()
    wanted = [(label, *CLASSES[label].split()) for label in labels]
    for index in rng.integers(0, len(_LOOKALIKES), rng.integers(0, 3)):
        wanted.append((None, *_LOOKALIKES[index]))
    plans = []
    for index in rng.permutation(len(wanted)):
        low, high = np.log(_SIDES[rng.choice(len(_SIDES), p=_SIDE_SHARES)])
        plans.append(_Plan(*wanted[index], float(np.exp(rng.uniform(low, high))) * scale))
    if labels and rng.random() < _CROWD_SHARE:
        label = int(rng.integers(0, len(CLASSES)))
        side = rng.uniform(*_CROWD_SIDES) * scale
        plans.insert(0, _Plan(label, *CLASSES[label].split(), side, crowd=True))
    return plans


def _candidate(plan: _Plan, rng: np.random.Generator, size: int) -> Item:
    """Put the planned item at a random place."""
    centre = rng.uniform(0, size, 2)

    def part(at: np.ndarray, side: float) -> np.ndarray:
        stretch = 1.0 if plan.shape == 'bar' else rng.uniform(0.85, 1.18)
        return drawing.outline(plan.shape, at, side, rng.uniform(-_TILT, _TILT), stretch)

    parts = [part(centre, plan.side)]
    if plan.crowd:
        parts += [
            part(centre + rng.normal(0, 1.3 * plan.side, 2), plan.side * rng.uniform(0.85, 1.15))
            for _ in range(rng.integers(9, 16))
        ]
    full = unary_union([Polygon(corners) for corners in parts])
    return Item(plan.label, plan.texture, parts, full, full.intersection(box(0, 0, size, size)), plan.crowd)


def _place(items: list[Item], plan: _Plan, rng: np.random.Generator, size: int) -> None:
    """Add the planned item where it and all that it hides stay visible enough, if such a place is found."""
    for _ in range(_TRIES):
        item = _candidate(plan, rng, size)
        if item.visible.area < _MIN_INSIDE * item.full.area:
            continue
        left = [other.visible.difference(item.full) for other in items]
        if any(rest.area < MIN_VISIBLE * other.full.area for rest, other in zip(left, items)):
            continue
        for other, rest in zip(items, left):
            other.visible = rest
        items.append(item)
        return


def _paint(canvas: np.ndarray, item: Item, rng: np.random.Generator, scale: float) -> None:
    base, ink = drawing.two_colours(rng)
    for corners in item.parts:
        period = rng.uniform(*_PERIODS) * scale
        drawing.fill(canvas, corners, base, ink, item.texture, period, rng.uniform(-_TILT, _TILT))
