"""Annotate a shape as COCO does: box, area and segmentation of what can be seen of it."""

from __future__ import annotations

import numpy as np
from pycocotools import mask as coco_mask
from shapely.geometry import MultiPolygon, Polygon, box
from shapely.geometry.base import BaseGeometry

# Slivers that an occluder leaves behind, in square pixels.
_SLIVER = 4.0


def annotate(visible: BaseGeometry, crowd: bool, size: int) -> dict:
    """Return COCO's ``iscrowd``, ``area``, ``bbox`` and ``segmentation`` of an object or a crowd.

    Args:
        visible: What can be seen of it.
        crowd: True for a crowd, which COCO segments by run lengths instead of polygons.
        size: Width and height of the image.
    """
    polygons = _polygons(visible)
    rings = [
        [round(float(value), 2) for point in polygon.exterior.coords[:-1] for value in point]
        for polygon in polygons
    ]
    left, top, right, bottom = (round(float(value), 2) for value in MultiPolygon(polygons).bounds)
    segmentation, area = rings, round(float(sum(polygon.area for polygon in polygons)), 2)
    if crowd:
        mask = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(rings, size, size)))
        segmentation, area = run_lengths(mask), float(mask.sum())
    return dict(
        iscrowd=int(crowd),
        area=area,
        bbox=[left, top, round(right - left, 2), round(bottom - top, 2)],
        segmentation=segmentation,
    )


def run_lengths(mask: np.ndarray) -> dict:
    """Return COCO's uncompressed RLE of a mask: column by column, with zeros counted first."""
    flat = np.concatenate([[0], mask.astype(np.uint8).flatten(order='F')])
    starts = np.flatnonzero(np.diff(flat))
    counts = np.diff(np.concatenate([[0], starts, [flat.size - 1]]))
    return dict(size=list(mask.shape), counts=counts.tolist())


def _polygons(geometry: BaseGeometry) -> list[Polygon]:
    """Return the polygons of a geometry that are larger than a sliver, cut so that none has a hole."""
    if isinstance(geometry, Polygon):
        if not geometry.interiors:
            return [geometry] if geometry.area >= _SLIVER else []
        # COCO's polygons cannot have holes: cut through the hole
        middle = geometry.interiors[0].centroid.x
        left, top, right, bottom = geometry.bounds
        return _polygons(geometry.intersection(box(left, top, middle, bottom))) + _polygons(
            geometry.intersection(box(middle, top, right, bottom))
        )
    parts = getattr(geometry, 'geoms', ())
    return [polygon for part in parts for polygon in _polygons(part)]
