"""Read an annotation file for an evaluation: images, classes and objects by number."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmattn.study.evaluation.masks import to_rle
from mmattn.study.evaluation.refused import EvaluationRefused, some


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """The annotations of a data set. Images and classes have numbers, in the order of their ids.

    pycocotools takes the images in this order too, which decides between equal scores. Objects are
    numbered anew as well: pycocotools counts one with the id 0 as never found.

    Args:
        path: The annotation file.
        digest: SHA-256 of the file.
        image_ids: The ids of the images.
        image_names: The file names of the images; empty where there is none.
        sizes: Height and width of the images, (images, 2); 0 where it is not given.
        class_ids: The ids of the categories.
        class_names: Their names.
        images: The image of each object, (objects,).
        classes: The class of each object, (objects,).
        boxes: ``x, y, width, height``, (objects, 4).
        areas: The area of each object, (objects,).
        crowd: Whether it is a crowd, (objects,).
        masks: Compressed run lengths; None for an evaluation of boxes.
        notes: What a user should know of the file.
    """

    path: str
    digest: str
    image_ids: tuple[Hashable, ...]
    image_names: tuple[str, ...]
    sizes: np.ndarray
    class_ids: tuple[Hashable, ...]
    class_names: tuple[str, ...]
    images: np.ndarray
    classes: np.ndarray
    boxes: np.ndarray
    areas: np.ndarray
    crowd: np.ndarray
    masks: list[dict[str, Any]] | None = None
    notes: tuple[str, ...] = ()

    @property
    def iou_type(self) -> str:
        """What is compared with these annotations: ``'bbox'`` or ``'segm'``."""
        return 'bbox' if self.masks is None else 'segm'


def read_ground_truth(path: str | os.PathLike, iou_type: str = 'bbox') -> GroundTruth:
    """Read an annotation file in COCO format.

    Args:
        path: The file.
        iou_type: ``'segm'`` to read masks too.

    Raises:
        FileNotFoundError: If there is no such file.
        EvaluationRefused: If it is not in COCO format, or results could not be compared with it.
    """
    path = os.fspath(path)
    content, digest = read_json(path, 'annotation file')
    images, categories, annotations = (_listed(path, content, key) for key in _NEEDED)
    images = _by_id(path, images, 'image')
    categories = _by_id(path, categories, 'category')
    names = tuple(str(each.get('name', each['id'])) for each in categories)
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if twice:
        raise EvaluationRefused(
            f"'{path}' gives several categories the same name: {some(twice)}. Rename them"
        )
    image_number = {each['id']: number for number, each in enumerate(images)}
    class_number = {each['id']: number for number, each in enumerate(categories)}
    counted = [
        each
        for each in annotations
        if each['image_id'] in image_number and each['category_id'] in class_number
    ]
    notes = []
    if len(counted) < len(annotations):
        notes.append(
            f'{len(annotations) - len(counted)} annotations are of images or categories that the file '
            'does not list: they do not count'
        )
    boxes = _boxes(path, counted)
    areas = np.array(
        [each.get('area', w * h) for each, (w, h) in zip(counted, boxes[:, 2:].tolist())], dtype=np.float64
    )
    without_area = sum('area' not in each for each in counted)
    if without_area:
        notes.append(f'{without_area} annotations have no area: that of their box is taken')
    sizes = np.array([[_size(each, 'height'), _size(each, 'width')] for each in images], dtype=np.int64)
    objects = np.array([image_number[each['image_id']] for each in counted], dtype=np.int64)
    return GroundTruth(
        path=path,
        digest=digest,
        image_ids=tuple(image_number),
        image_names=tuple(str(each.get('file_name', '')) for each in images),
        sizes=sizes,
        class_ids=tuple(class_number),
        class_names=names,
        images=objects,
        classes=np.array([class_number[each['category_id']] for each in counted], dtype=np.int64),
        boxes=boxes,
        areas=areas,
        crowd=np.array([bool(each.get('iscrowd', 0)) for each in counted], dtype=bool),
        masks=None if iou_type == 'bbox' else _masks(path, counted, sizes[objects]),
        notes=tuple(notes),
    )


_NEEDED = dict(images=('id',), categories=('id',), annotations=('image_id', 'category_id'))


def read_json(path: str, what: str) -> tuple[Any, str]:
    """Return the content of a JSON file and its SHA-256; refuse what is none."""
    if not os.path.isfile(path):
        raise FileNotFoundError(f"there is no {what} '{path}'")
    with open(path, 'rb') as file:
        data = file.read()
    try:
        text = data.decode(json.detect_encoding(data))
        return json.loads(text), hashlib.sha256(data).hexdigest()
    except (ValueError, RecursionError) as error:
        if data[:1] == b'\x80' or data[:2] == b'PK':
            raise EvaluationRefused(
                f"'{path}' is a file of Python's pickle or of torch.save, not JSON. {WRITE_JSON}"
            ) from error
        raise EvaluationRefused(
            f"'{path}' ({len(data)} bytes) is not valid JSON: {error}. It may be cut off: write it again"
        ) from error


WRITE_JSON = (
    "MMDetection writes results as COCO's JSON with test_evaluator.outfile_prefix=NAME (NAME.bbox.json, "
    'NAME.segm.json), Ultralytics with `yolo val save_json=True` (predictions.json)'
)


def _listed(path: str, content: Any, key: str) -> list[dict]:
    entries = content.get(key) if isinstance(content, dict) else None
    if not isinstance(entries, list):
        found = (
            f'a list of {len(content)} entries'
            if isinstance(content, list)
            else f'an object with {some(content)}'
            if isinstance(content, dict)
            else type(content).__name__
        )
        results = (
            isinstance(content, list) and content and isinstance(content[0], dict) and 'score' in content[0]
        )
        raise EvaluationRefused(
            f"'{path}' is no annotation file in COCO format: it holds {found}"
            f'{", which seem to be results" if results else ""}. Needed: an object with images, categories '
            'and annotations'
        )
    for entry in entries:
        if not isinstance(entry, dict) or any(field not in entry for field in _NEEDED[key]):
            raise EvaluationRefused(
                f"'{path}': one of its {key} has no {' or '.join(_NEEDED[key])}: {entry!r:.200}"
            )
    return entries


def _by_id(path: str, entries: Sequence[dict], what: str) -> list[dict]:
    """Return entries sorted by id, each id once; pycocotools counts one given twice once too."""
    if not entries:
        raise EvaluationRefused(f"'{path}' lists no {what}")
    try:
        return sorted({each['id']: each for each in entries}.values(), key=lambda each: each['id'])
    except TypeError as error:
        raise EvaluationRefused(
            f"'{path}': the ids of some entries ({what}) are numbers, of others texts: {error}"
        ) from error


def _size(image: dict, side: str) -> int:
    value = image.get(side, 0)
    return int(value) if isinstance(value, (int, float)) and math.isfinite(value) else 0


def _boxes(path: str, annotations: Sequence[dict]) -> np.ndarray:
    for each in annotations:
        box = each.get('bbox')
        if not is_box(box):
            raise EvaluationRefused(
                f"'{path}': an annotation (id {each.get('id')!r}) has the bbox {box!r:.100}. Needed: "
                '[x, y, width, height]'
            )
    return np.array([each['bbox'] for each in annotations], dtype=np.float64).reshape(-1, 4)


def is_box(box: Any) -> bool:
    """True for ``[x, y, width, height]``, finite and no side below zero."""
    return (
        isinstance(box, list)
        and len(box) == 4
        and all(isinstance(value, (int, float)) and math.isfinite(value) for value in box)
        and min(box[2:]) >= 0
    )


def _masks(path: str, annotations: Sequence[dict], sizes: np.ndarray) -> list[dict]:
    masks = []
    for each, (height, width) in zip(annotations, sizes.tolist()):
        try:
            if not (height and width):
                raise ValueError('the file does not give the height and width of its image')
            masks.append(to_rle(each.get('segmentation'), height, width))
        except ValueError as error:
            raise EvaluationRefused(
                f"'{path}': masks cannot be evaluated, for an annotation (id {each.get('id')!r}) has none: "
                f'{error}. Evaluate boxes instead (bbox)'
            ) from error
    return masks
