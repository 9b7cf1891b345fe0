"""Turn COCO's segmentations, polygons or run lengths, into compressed run lengths."""

from __future__ import annotations

from typing import Any

from pycocotools import mask as coco_mask


def to_rle(segmentation: Any, height: int, width: int) -> dict[str, Any]:
    """Return a segmentation as ``dict(size=[height, width], counts=bytes)``.

    Raises:
        ValueError: If it is neither polygons nor run lengths, or the run lengths have another size.
    """
    if isinstance(segmentation, dict) and {'size', 'counts'} <= segmentation.keys():
        if list(segmentation['size']) != [height, width]:
            raise ValueError(
                f'its mask has the size {segmentation["size"]}, its image [{height}, {width}] (height, width)'
            )
        counts = segmentation['counts']
        if isinstance(counts, list):
            if not all(isinstance(n, int) and n >= 0 for n in counts) or sum(counts) != height * width:
                raise ValueError(f'its run lengths do not add up to the {height * width} pixels of the image')
            return coco_mask.frPyObjects(segmentation, height, width)
        if isinstance(counts, (str, bytes)):
            return dict(size=[height, width], counts=counts.encode() if isinstance(counts, str) else counts)
    elif isinstance(segmentation, list) and segmentation and all(_is_ring(ring) for ring in segmentation):
        return coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))
    raise ValueError('its segmentation is neither polygons [[x1, y1, x2, y2, x3, y3, ...]] nor run lengths')


def _is_ring(ring: Any) -> bool:
    return (
        isinstance(ring, list)
        and len(ring) >= 6
        and len(ring) % 2 == 0
        and all(isinstance(value, (int, float)) for value in ring)
    )
