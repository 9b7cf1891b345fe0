"""One image of the shapes data set and what is in it.

A class is a texture on a shape, so neither alone tells classes apart. Distractors have the right
shape with a wrong texture, or the right texture on a wrong shape, and are not labelled.
"""

from dataclasses import dataclass

import numpy as np
from pycocotools import mask as coco_mask
from shapely.geometry import MultiPolygon, Polygon, box
from shapely.ops import unary_union

from mmattn.datasets import drawing

SHAPES = ('circle', 'cross', 'triangle')
TEXTURES = ('striped', 'dotted')
CLASSES = tuple(f'{texture} {shape}' for shape in SHAPES for texture in TEXTURES)
_LOOKALIKES = tuple((texture, shape) for shape in SHAPES for texture in ('plain', 'checked')) + tuple(
    (texture, shape) for shape in ('star', 'square', 'bar') for texture in TEXTURES
)

# The image width at which the sides below are in pixels, so that COCO's own limits between small,
# medium and large (areas of 32 ** 2 and 96 ** 2) apply. Other widths scale all of it.
REFERENCE_SIZE = 256
COCO_LIMITS = (32, 96)
_SIDES = ((24, 31), (33, 95), (100, 140))
_SIDE_SHARES = (0.25, 0.55, 0.2)
_CROWD_SIDES = (18, 26)
# A texture is like a material: equally fine on small and large things.
_PERIODS = (8.0, 11.0)
# What is hidden or cut off more than this is put elsewhere or left out: nothing visible goes unlabelled.
MIN_VISIBLE = 0.75
_MIN_INSIDE = 0.85
_EMPTY_SHARE = 0.06
_CROWD_SHARE = 0.08
_TRIES = 40
# Shapes stand upright, as most things in photographs do, but never quite.
_TILT = np.deg2rad(15)
# Slivers that an occluder leaves behind, in square pixels.
_SLIVER = 4.0


@dataclass
class Item:
    """Something in a scene: an object, a crowd of them, or a distractor (``label`` is None)."""

    label: int
    texture: str
    parts: list  # corners of each member, in painting order
    side: float
    full: object  # the geometry when nothing hides it
    visible: object = None
    crowd: bool = False


def area_limits(size):
    """Where small ends and large begins, as areas in square pixels, for images of this width."""
    return tuple((limit * size / REFERENCE_SIZE) ** 2 for limit in COCO_LIMITS)


def make_scene(rng, size):
    """Draw one image.

    Args:
        rng (numpy.random.Generator): The only source of chance.
        size (int): Width and height in pixels.

    Returns:
        tuple: The RGB image ``(size, size, 3)``, and a list of dicts with ``label`` (index into
        ``CLASSES``) and COCO's ``bbox``, ``area``, ``segmentation`` and ``iscrowd``. Boxes and
        segmentations cover what can be seen of the object, as COCO's do.
    """
    canvas = drawing.blank(size)
    drawing.paint_background(canvas, rng)
    items = []
    for plan in _plan(rng, size / REFERENCE_SIZE):
        _place(items, plan, rng, size)
    for item in items:
        _paint(canvas, item, rng, size / REFERENCE_SIZE)
    return drawing.finish(canvas), [_annotate(item, size) for item in items if item.label is not None]


@dataclass
class _Plan:
    label: int
    texture: str
    shape: str
    side: float
    crowd: bool = False


def _plan(rng, scale):
    """What to put in, back to front."""
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


def _candidate(plan, rng, size):
    centre = rng.uniform(0, size, 2)

    def part(at, side):
        stretch = 1.0 if plan.shape == 'bar' else rng.uniform(0.85, 1.18)
        return drawing.outline(plan.shape, at, side, rng.uniform(-_TILT, _TILT), stretch)

    parts = [part(centre, plan.side)]
    if plan.crowd:
        parts += [
            part(centre + rng.normal(0, 1.3 * plan.side, 2), plan.side * rng.uniform(0.85, 1.15))
            for _ in range(rng.integers(9, 16))
        ]
    full = unary_union([Polygon(corners) for corners in parts])
    return Item(plan.label, plan.texture, parts, plan.side, full, crowd=plan.crowd)


def _place(items, plan, rng, size):
    """Add the planned item where it, and everything it hides, stays visible enough; or not."""
    frame = box(0, 0, size, size)
    for _ in range(_TRIES):
        item = _candidate(plan, rng, size)
        item.visible = item.full.intersection(frame)
        if item.visible.area < _MIN_INSIDE * item.full.area:
            continue
        left = [other.visible.difference(item.full) for other in items]
        if any(rest.area < MIN_VISIBLE * other.full.area for rest, other in zip(left, items)):
            continue
        for other, rest in zip(items, left):
            other.visible = rest
        items.append(item)
        return


def _paint(canvas, item, rng, scale):
    base, ink = drawing.two_colours(rng)
    for corners in item.parts:
        period = rng.uniform(*_PERIODS) * scale
        drawing.fill(canvas, corners, base, ink, item.texture, period, rng.uniform(-_TILT, _TILT))


def _polygons(geometry):
    """The polygons of a geometry that are more than a sliver, cut so that none has a hole."""
    if isinstance(geometry, Polygon):
        if not geometry.interiors:
            return [geometry] if geometry.area >= _SLIVER else []
        # COCO's polygons cannot say "hole": cut through it
        middle = geometry.interiors[0].centroid.x
        left, top, right, bottom = geometry.bounds
        return _polygons(geometry.intersection(box(left, top, middle, bottom))) + _polygons(
            geometry.intersection(box(middle, top, right, bottom))
        )
    parts = getattr(geometry, 'geoms', ())
    return [polygon for part in parts for polygon in _polygons(part)]


def _annotate(item, size):
    polygons = _polygons(item.visible)
    rings = [
        [round(float(value), 2) for point in polygon.exterior.coords[:-1] for value in point]
        for polygon in polygons
    ]
    left, top, right, bottom = (round(float(value), 2) for value in MultiPolygon(polygons).bounds)
    segmentation, area = rings, round(float(sum(polygon.area for polygon in polygons)), 2)
    if item.crowd:
        mask = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(rings, size, size)))
        segmentation, area = run_lengths(mask), float(mask.sum())
    return dict(
        label=item.label,
        iscrowd=int(item.crowd),
        area=area,
        bbox=[left, top, round(right - left, 2), round(bottom - top, 2)],
        segmentation=segmentation,
    )


def run_lengths(mask):
    """COCO's uncompressed RLE of a mask: column by column, the first run counts zeros."""
    flat = np.concatenate([[0], mask.astype(np.uint8).flatten(order='F')])
    starts = np.flatnonzero(np.diff(flat))
    counts = np.diff(np.concatenate([[0], starts, [flat.size - 1]]))
    return dict(size=list(mask.shape), counts=counts.tolist())
