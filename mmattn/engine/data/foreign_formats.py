"""Recognise annotation files of other formats, so that a message can name what they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_EXPORT = 'Export it as COCO instead, in format "instances" or "object detection"'
_FORMATS: tuple[tuple[str, str, Callable[[Any], bool]], ...] = (
    (
        'results in COCO format (what a detector found), not annotations',
        'Give the annotation file that they were computed for',
        lambda c: _all(c, 'image_id', 'category_id', 'score'),
    ),
    (
        'a bare list of annotations, without images and categories',
        'Give the whole file: dict(images=..., annotations=..., categories=...)',
        lambda c: _all(c, 'image_id', 'category_id'),
    ),
    ('a list of images in the format of detectron2', _EXPORT, lambda c: _all(c, 'file_name', 'annotations')),
    ('an export of Label Studio in its own format', _EXPORT, lambda c: _all(c, 'data', 'annotations')),
    ('an export in the format CreateML', _EXPORT, lambda c: _all(c, 'image', 'annotations')),
    ('a file of LabelMe, of one image', _EXPORT, lambda c: _has(c, 'shapes', 'imagePath')),
    ('a project of the VGG Image Annotator', _EXPORT, lambda c: _has(c, '_via_img_metadata')),
    (
        'a file of the VGG Image Annotator in its own format',
        _EXPORT,
        lambda c: isinstance(c, dict) and bool(c) and _all(list(c.values()), 'filename', 'regions'),
    ),
    ('an annotation of Pascal VOC turned into JSON', _EXPORT, lambda c: _has(c, 'annotation')),
    ('a file of Datumaro', _EXPORT, lambda c: _has(c, 'items', 'categories')),
    (
        'COCO in format "panoptic"',
        "Give the file of format 'instances', or use a panoptic data set",
        lambda c: _has(c, 'annotations') and _all(c['annotations'], 'segments_info'),
    ),
    (
        'COCO in format "captions"',
        "Give the file of format 'instances'",
        lambda c: _has(c, 'annotations') and _all(c['annotations'], 'caption'),
    ),
)


def recognise(content: Any) -> tuple[str, str] | None:
    """Return what a file that is not in COCO's detection format seems to be, and what to do.

    Example:
        >>> recognise([dict(image_id=1, category_id=1, bbox=[0, 0, 2, 2], score=0.5)])[0]
        'results in COCO format (what a detector found), not annotations'
    """
    for name, remedy, matches in _FORMATS:
        if matches(content):
            return name, remedy
    return None


def _has(content: Any, *keys: str) -> bool:
    return isinstance(content, dict) and all(key in content for key in keys)


def _all(entries: Any, *keys: str) -> bool:
    return isinstance(entries, list) and bool(entries) and all(_has(entry, *keys) for entry in entries[:100])
