"""Read the results file of a run, from MMDetection, Ultralytics, torchmetrics or elsewhere."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from mmattn.study.evaluation.detections import Detections
from mmattn.study.evaluation.ground_truth import WRITE_JSON, GroundTruth, is_box, read_json
from mmattn.study.evaluation.identify import AUTO, class_numbers, image_numbers
from mmattn.study.evaluation.masks import to_rle
from mmattn.study.evaluation.refused import EvaluationRefused, some

_FORMAT = (
    'Needed: a list of detections, each with image_id, category_id, score, and bbox [x, y, width, height] or '
    'segmentation'
)


def read_detections(path: str | os.PathLike, truth: GroundTruth, categories: str = AUTO) -> Detections:
    """Read detections in COCO's results format.

    Args:
        path: The file.
        truth: The annotations; if they have masks, so must the detections.
        categories: What ``category_id`` is: ``'auto'`` or one of ``CATEGORY_READINGS``.

    Raises:
        FileNotFoundError: If there is no such file.
        EvaluationRefused: If it is not in that format, or an entry of it could not be evaluated.
    """
    path = os.fspath(path)
    entries = _entries(path)
    geometry = 'bbox' if truth.iou_type == 'bbox' else 'segmentation'
    try:
        image_ids, category_ids, scores, shapes = (
            [entry[key] for entry in entries] for key in ('image_id', 'category_id', 'score', geometry)
        )
    except (KeyError, TypeError):
        raise _incomplete(path, entries, geometry) from None
    scores = _scores(path, scores)
    try:
        images, notes = image_numbers(path, image_ids, truth)
        classes, class_notes = class_numbers(path, category_ids, truth, categories)
    except TypeError as error:  # a list is no id
        raise EvaluationRefused(f"'{path}': an image_id or category_id is no number: {error}") from error
    images = np.array(images, dtype=np.int64)
    masks = None
    if truth.masks is None:
        boxes = _boxes(path, shapes)
        areas = boxes[:, 2] * boxes[:, 3]
    else:
        masks = _masks(path, shapes, truth.sizes[images])
        boxes = np.asarray(coco_mask.toBbox(masks), dtype=np.float64).reshape(-1, 4)
        # One by one: pycocotools' area of a list fails if it has more than 255 masks.
        areas = np.array([coco_mask.area(mask) for mask in masks], dtype=np.float64)
    return Detections(
        images=images,
        classes=np.array(classes, dtype=np.int64),
        boxes=boxes,
        scores=scores,
        areas=areas,
        masks=masks,
        notes=(*notes, *class_notes),
    )


def _entries(path: str) -> list[Any]:
    content, _ = read_json(path, 'results file')
    if isinstance(content, list):
        return content
    if isinstance(content, dict) and {'images', 'annotations'} <= content.keys():
        found = 'an annotation file, not results'
    elif isinstance(content, dict):
        found = f'an object with {some(content)}, not a list'
    else:
        found = f'{content!r:.60}, not a list'
    raise EvaluationRefused(f"'{path}' is {found}. {_FORMAT}. {WRITE_JSON}")


def _incomplete(path: str, entries: Sequence[Any], geometry: str) -> EvaluationRefused:
    needed = ('image_id', 'category_id', 'score', geometry)
    number, entry = next(
        (number, entry)
        for number, entry in enumerate(entries)
        if not isinstance(entry, dict) or any(key not in entry for key in needed)
    )
    if not isinstance(entry, dict):
        return EvaluationRefused(f"'{path}': entry {number} is {entry!r:.60}, no object. {_FORMAT}")
    missing = [key for key in needed if key not in entry]
    other = dict(bbox='segmentation', segmentation='bbox')[geometry]
    if missing == [geometry] and other in entry:
        return EvaluationRefused(
            f"'{path}': entry {number} has a {other} and no {geometry}: evaluate "
            f'{"masks (segm)" if geometry == "bbox" else "boxes (bbox)"} instead'
        )
    return EvaluationRefused(
        f"'{path}': entry {number} has no {', '.join(missing)}; it has {some(entry)}. {_FORMAT}"
    )


def _scores(path: str, scores: Sequence[Any]) -> np.ndarray:
    array = _numbers(scores)
    if array is not None and array.ndim == 1 and np.isfinite(array).all():
        return array
    number, score = next(
        (number, score)
        for number, score in enumerate(scores)
        if not isinstance(score, (int, float)) or not math.isfinite(score)
    )
    raise EvaluationRefused(
        f"'{path}': entry {number} has the score {score!r:.60}. A detector whose scores are not finite "
        'numbers has diverged, or the program that wrote the file has a mistake'
    )


def _boxes(path: str, boxes: Sequence[Any]) -> np.ndarray:
    array = _numbers(boxes)
    if array is not None and not len(array):
        return array.reshape(0, 4)
    if array is not None and array.shape[1:] == (4,) and np.isfinite(array).all() and array[:, 2:].min() >= 0:
        return array
    number, box = next((number, box) for number, box in enumerate(boxes) if not is_box(box))
    raise EvaluationRefused(
        f"'{path}': entry {number} has the bbox {box!r:.100}. Needed: four finite numbers, "
        '[x, y, width, height], with no side below zero'
    )


def _numbers(values: Sequence[Any]) -> np.ndarray | None:
    """Return an array of floats, or None if the values are no numbers or of different lengths."""
    try:
        array = np.array(values)
    except ValueError:
        return None
    numeric = np.issubdtype(array.dtype, np.number) or not len(array)
    return array.astype(np.float64) if numeric else None


def _masks(path: str, segmentations: Sequence[Any], sizes: np.ndarray) -> list[dict[str, Any]]:
    masks = []
    for number, (segmentation, (height, width)) in enumerate(zip(segmentations, sizes.tolist())):
        try:
            masks.append(to_rle(segmentation, height, width))
        except ValueError as error:
            raise EvaluationRefused(f"'{path}': entry {number} cannot be evaluated: {error}") from error
    return masks
