"""Check the boxes that data sets have loaded: large files are not parsed before, nor are other formats."""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from mmengine.config import Config

from mmattn.engine.data import image_files, reading
from mmattn.engine.data.box_readings import find_reading
from mmattn.engine.data.box_rules import none_is_usable
from mmattn.engine.data.boxes import Boxes
from mmattn.engine.data.examine import WHOLE, examine
from mmattn.engine.data.findings import REFUSE, DataRefused, some
from mmattn.engine.data.sources import find_sources


def check_loaded(dataset: Any) -> None:
    """Check the boxes that a data set, or those in a wrapper or concatenation, will be trained on.

    Args:
        dataset: A data set that is loaded.

    Raises:
        DataRefused: If boxes are not finite, are not in pixels as x, y, width and height in the file, or none
            can be trained on.
    """
    leaves = [leaf for leaf in _leaves(dataset) if _has_boxes(leaf)]
    for leaf in leaves:
        _check_boxes(leaf)
    if leaves and not any(_is_usable(info) for leaf in leaves for info in _infos(leaf, 0)):
        files = some(repr(getattr(leaf, 'ann_file', type(leaf).__name__)) for leaf in leaves)
        raise DataRefused(
            f'the data set loaded no box to train on from {files}: each of its '
            f'{sum(len(leaf) for leaf in leaves)} images has none, or crowds only'
        )


@contextmanager
def loading_explained(cfg: Config, parts: Iterable[str]) -> Iterator[None]:
    """Say what is wrong with a large annotation file that a data set fails to load.

    Raises:
        DataRefused: In place of MMDetection's error, if the whole file shows why.
    """
    try:
        yield
    except (AssertionError, KeyError, TypeError, ValueError) as error:
        frames = (frame.f_code.co_name for frame, _ in traceback.walk_tb(error.__traceback__))
        if 'full_init' not in frames:
            raise
        for source in (source for part in parts for source in find_sources(cfg, part)):
            if os.path.getsize(source.path) <= reading.LARGE:
                continue
            data = examine(source, whole=True, open_images=False)
            found = [str(finding) for finding in data.findings if data.is_refused or data.is_repaired]
            if not data.is_refused and (empty := none_is_usable([data])):
                raise DataRefused(str(empty)) from error
            if found:
                remedy = (
                    ''
                    if data.is_refused
                    else f'. --cfg-options {WHOLE}=True reads it right: all of it is parsed first'
                )
                raise DataRefused(
                    f"the annotation file '{source.path}' ({source.where}), which is large, so that only its "
                    f'first annotations were checked, cannot be loaded: {"; ".join(found)}{remedy}'
                ) from error
        raise


def _leaves(dataset: Any) -> Iterator[Any]:
    """Yield the data sets in wrappers and concatenations."""
    inside = getattr(dataset, 'datasets', None) or [getattr(dataset, 'dataset', None)]
    if inside == [None]:
        yield dataset
        return
    for each in inside:
        yield from _leaves(each)


def _infos(dataset: Any, most: int) -> Iterator[dict]:
    """Yield what was loaded for images: for ``most`` of them, evenly spread, or for all if it is 0."""
    step = max(1, -(-len(dataset) // most)) if most else 1
    return (dataset.get_data_info(i) for i in range(0, len(dataset), step))


def _has_boxes(dataset: Any) -> bool:
    """Whether a data set has boxes to train on, as lists of instances, and a pipeline that loads them."""
    transforms = getattr(getattr(dataset, 'pipeline', None), 'transforms', None)
    if not hasattr(dataset, 'get_data_info'):
        return False
    loads = transforms is None or any(type(each).__name__ == 'LoadAnnotations' for each in transforms)
    return loads and (len(dataset) == 0 or 'instances' in dataset.get_data_info(0))


def _is_usable(info: dict) -> bool:
    return any(not instance.get('ignore_flag') for instance in info['instances'])


def _check_boxes(dataset: Any) -> None:
    images, annotations, at = [], [], []
    for info in _infos(dataset, image_files.SAMPLE):
        images.append(
            dict(file_name=info.get('img_path'), width=info.get('width'), height=info.get('height'))
        )
        for instance in info['instances']:
            box = instance.get('bbox')
            if box is None or len(box) != 4:  # rotated, or a polygon
                return
            annotations.append(dict(bbox=[*box[:2], box[2] - box[0], box[3] - box[1]]))
            at.append(len(images) - 1)
    if not annotations:
        return
    numbers = np.array([annotation['bbox'] for annotation in annotations], float)
    wrong = ~np.isfinite(numbers).all(1)
    where = f"'{getattr(dataset, 'ann_file', type(dataset).__name__)}'"
    if wrong.any():
        first = images[at[np.flatnonzero(wrong)[0]]]['file_name']
        raise DataRefused(
            f'{wrong.sum()} of {len(wrong)} boxes that were loaded from {where} are not finite, for example '
            f"on '{first}'"
        )
    sizes = np.array([[image['width'] or np.inf, image['height'] or np.inf] for image in images], float)
    none = np.zeros(len(numbers), bool)
    boxes = Boxes(
        numbers, sizes[at], none.astype(int), numbers[:, 2:].prod(1), none, none, np.array(at), annotations
    )
    for finding in find_reading(boxes, images):
        if finding.severity == REFUSE:
            raise DataRefused(f'of the boxes that were loaded from {where}, {finding}')
