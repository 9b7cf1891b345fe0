"""Check data sets before training starts, and say how to mend what is wrong.

MMDetection finds some faults only after the model is built or an epoch is over, and others never: its
labels are positions in the annotation file's list of categories, so classes in another order are silently
trained under each other's names.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from mmengine.config import Config
from mmengine.fileio import list_from_file
from mmengine.utils import is_list_of

SAMPLE = 5000
"""At most this many images of a data set are looked for, evenly spread."""
LARGE = 50_000_000
"""Annotation files with more characters are skimmed: parsing all of COCO's takes as long as loading it."""
_HOW = 'Set the data root with --data-root or MMATTN_DATA_ROOT, or the file with --cfg-options {}=...'


def read_classes(ann_file: str) -> tuple[str, ...]:
    """Return the class names of a COCO-format annotation file, in the file's order.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not in COCO format, or names a class twice.
    """
    if not os.path.isfile(ann_file):
        raise FileNotFoundError(
            f"no annotation file '{ann_file}', from which the classes are read. Set the data root "
            'with --data-root or MMATTN_DATA_ROOT to a folder that holds images/, '
            'annotations/train.json and annotations/val.json'
        )
    names = _names(_load(ann_file))
    _check_unique(names, f"the annotation file '{ann_file}'")
    return names


def check_data(cfg: Config, parts: Sequence[str] = ('train', 'val')) -> None:
    """Check the data sets and evaluators of a config; raise at the first fault.

    It checks that

    - annotation files and image folders exist,
    - the JSON is complete and in COCO format,
    - its categories are the configured classes, in this order,
    - the heads have as many classes,
    - the images exist and are not empty (all of them, or 5000 evenly spread),
    - the evaluator knows the images to evaluate.

    Data that is not in COCO format, or not on a local disk, is left to its own loader.

    Args:
        cfg: A whole config.
        parts: Those of ``train``, ``val`` and ``test`` to check.

    Raises:
        FileNotFoundError: If a file or folder is missing.
        ValueError: If the data does not fit the config.
        TypeError: If the config's classes are a string.
    """
    seen: dict[str, dict] = {}
    for part in parts:
        key = f'{part}_dataloader'
        if not cfg.get(key):
            continue
        ids = set()
        for where, dataset in _leaf_datasets(cfg[key].get('dataset'), f'{key}.dataset'):
            ids |= _check_dataset(cfg, where, dataset, seen)
        if part != 'train' and ids:
            _check_evaluator(cfg.get(f'{part}_evaluator'), f'{part}_evaluator', ids, seen)


def _leaf_datasets(dataset: Any, where: str) -> Iterator[tuple[str, dict]]:
    """Yield the config path and the config of the data sets inside wrappers such as RepeatDataset."""
    if not isinstance(dataset, dict):
        return
    if 'dataset' in dataset:
        yield from _leaf_datasets(dataset['dataset'], f'{where}.dataset')
    elif 'datasets' in dataset:
        for i, child in enumerate(dataset['datasets']):
            yield from _leaf_datasets(child, f'{where}.datasets.{i}')
    else:
        yield where, dataset


def _coco_class(dataset: dict) -> type | None:
    """Return the data set's class if it reads COCO format, else None."""
    from mmdet.datasets import CocoDataset
    from mmdet.registry import DATASETS

    found = dataset.get('type')
    found = DATASETS.get(found) if isinstance(found, str) else found
    # Subclasses that read another format (LVIS, panoptic, ...) have loaders of their own.
    same = isinstance(found, type) and issubclass(found, CocoDataset)
    return found if same and found.load_data_list is CocoDataset.load_data_list else None


def _check_dataset(cfg: Config, where: str, dataset: dict, seen: dict[str, dict]) -> set:
    """Check one data set; return the ids of its images."""
    coco_class = _coco_class(dataset)
    ann_file = dataset.get('ann_file') or ''
    if coco_class is None or '://' in ann_file or '://' in (dataset.get('data_root') or ''):
        return set()
    root = dataset.get('data_root') or ''
    path = os.path.join(root, ann_file)
    content = _load_once(path, f'{where}.ann_file', seen, _made_by(cfg, root))
    classes = (dataset.get('metainfo') or {}).get('classes', coco_class.METAINFO.get('classes', ()))
    if isinstance(classes, str) and os.path.isfile(classes):  # MMEngine reads a file of names
        classes = list_from_file(classes)
    if isinstance(classes, str):
        raise TypeError(
            f"{where}.metainfo.classes is the string '{classes}', but a tuple of names is needed: "
            f"classes=('{classes}', )"
        )
    _check_classes(path, where, tuple(classes), _names(content))
    _check_heads(cfg.get('model'), len(classes), where)
    folder = os.path.join(root, (dataset.get('data_prefix') or {}).get('img', ''))
    _check_images(path, folder, f'{where}.data_prefix.img', content['images'])
    return {image['id'] for image in content['images']}


def _made_by(cfg: Config, root: str) -> str:
    """Return how to make the data, for configs of generated data; for others, an empty string."""
    command = cfg.get('data_made_by')
    return f'Write it with `{command.format(data_root=shlex.quote(root))}`. ' if command else ''


def _check_unique(names: Iterable[str], where: str) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(
            f'{where} names {len(twice)} classes more than once: {_some(twice)}. Labels could not '
            'be told apart by name: give each its own'
        )


def _check_classes(path: str, where: str, classes: tuple[str, ...], names: tuple[str, ...]) -> None:
    _check_unique(classes, f'{where}.metainfo.classes')
    # Only the configured categories are read, so only their names must differ.
    _check_unique([name for name in names if name in classes], f"the annotation file '{path}'")
    missing = [name for name in classes if name not in names]
    if missing:
        raise ValueError(
            f"the annotation file '{path}' is of another data set: {len(missing)} of the "
            f'{len(classes)} classes that {where} is configured for are not in it '
            f'({_some(missing)}); its {len(names)} categories are {_some(names)}. Set '
            f"metainfo=dict(classes=...) of the data set to the file's categories, and num_classes "
            'of the head to their number, or use a config whose name ends in _folder, which reads '
            'both from the file'
        )
    in_file = [name for name in names if name in classes]
    if in_file != list(classes):
        at = next(i for i, name in enumerate(classes) if name != in_file[i])
        raise ValueError(
            f"the classes of {where} are in another order than the categories of '{path}': class "
            f"{at} is '{classes[at]}' in the config and '{in_file[at]}' in the file. Labels follow "
            "the file, so names would be mixed up: give the classes in the file's order"
        )


def _check_heads(node: Any, expected: int, where: str, path: str = 'model') -> None:
    """Check ``num_classes`` of every bbox_head and mask_head that has it."""
    if isinstance(node, (list, tuple)):
        for i, child in enumerate(node):
            _check_heads(child, expected, where, f'{path}.{i}')
    elif isinstance(node, dict):
        for key, child in node.items():
            here = f'{path}.{key}'
            if key in ('bbox_head', 'mask_head'):
                heads = child if is_list_of(child, dict) else [child]
                for head in heads:
                    found = head.get('num_classes') if isinstance(head, dict) else None
                    if found is not None and found != expected:
                        raise ValueError(
                            f'{here} has num_classes={found}, but {where} has {expected} classes. '
                            f'Set {here}.num_classes={expected}'
                        )
            _check_heads(child, expected, where, here)


def _check_images(path: str, folder: str, where: str, images: Sequence[dict]) -> None:
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"no image folder '{folder}' ({where}). {_HOW.format(where)}")
    step = max(1, -(-len(images) // SAMPLE))
    names = [image['file_name'] for image in islice(images, 0, None, step)]
    missing, empty = [], []
    for name in names:
        try:
            if os.stat(os.path.join(folder, name)).st_size == 0:
                empty.append(name)
        except OSError:
            missing.append(name)
    checked = f'of {len(names)} checked'
    if missing:
        raise FileNotFoundError(
            f"{len(missing)} {checked} images that '{path}' names are not in '{folder}': "
            f'{_some(missing)}. Complete the folder, or set {where} to the one that has them'
        )
    if empty:
        raise ValueError(
            f"{len(empty)} {checked} images in '{folder}' are empty files: {_some(empty)}. Copy "
            f"them again, or take them out of '{path}'"
        )


def _check_evaluator(evaluators: Any, where: str, ids: set, seen: dict[str, dict]) -> None:
    for evaluator in evaluators if isinstance(evaluators, (list, tuple)) else [evaluators]:
        path = (evaluator or {}).get('ann_file')
        if not path or '://' in path or 'Coco' not in str(evaluator.get('type')):
            continue
        content = _load_once(path, f'{where}.ann_file', seen)
        unknown = sorted(ids - {image['id'] for image in content['images']}, key=str)
        if unknown:
            raise ValueError(
                f"{where}.ann_file '{path}' does not know {len(unknown)} of the {len(ids)} "
                f'images to evaluate (ids {_some(unknown)}). Set it to the annotation '
                f'file of {where.replace("evaluator", "dataloader")}'
            )


def _load_once(path: str, where: str, seen: dict[str, dict], made_by: str = '') -> dict[str, list]:
    """Return the images and categories of an annotation file, which ``seen`` keeps."""
    path = os.path.normpath(path)
    if path not in seen:
        if not os.path.isfile(path):
            raise FileNotFoundError(f"no annotation file '{path}' ({where}). {made_by}{_HOW.format(where)}")
        # The annotations are dropped: COCO's take half a gigabyte.
        content = _load(path)
        seen[path] = dict(images=content['images'], categories=content['categories'])
    return seen[path]


def _load(path: str) -> dict:
    """Read and check an annotation file; a large one is skimmed, and has no annotations then."""
    with open(path, encoding='utf-8') as file:
        text = file.read()
    content = _skim(text) if len(text) > LARGE else None
    if content is None:
        try:
            content = json.loads(text)
        except ValueError as error:
            raise ValueError(
                f"the annotation file '{path}' ({os.path.getsize(path)} bytes) is not valid JSON: "
                f'{error}. It may be cut off or not be an annotation file: copy it again'
            ) from error
        _check_fields(path, content, annotations=('image_id', 'category_id', 'bbox'))
    _check_fields(path, content, images=('id', 'file_name'), categories=('id', 'name'))
    if not content['images']:
        raise ValueError(f"the annotation file '{path}' names no image")
    return content


def _skim(text: str) -> dict | None:
    """Parse only the images and categories of a large file; return None if the whole file must be parsed."""
    content = {}
    if '"annotations"' not in text or not text[-1000:].rstrip().endswith('}'):
        return None
    for key in ('images', 'categories'):
        if text.count(f'"{key}"') != 1:
            return None
        start = re.search(rf'"{key}"\s*:\s*', text)
        try:
            content[key] = json.JSONDecoder().raw_decode(text, start.end())[0]
        except (ValueError, AttributeError):
            return None
    return content


def _check_fields(path: str, content: Any, **needed: Sequence[str]) -> None:
    try:
        for key, fields in needed.items():
            for entry in content[key]:
                for field in fields:
                    entry[field]
    except (KeyError, TypeError, IndexError) as error:
        raise ValueError(
            f"'{path}' is JSON, but not in COCO's detection format: {type(error).__name__} "
            f'{error}. Needed: a dict with images (id, file_name, width, height), categories (id, '
            'name) and annotations (image_id, category_id, bbox, area, iscrowd)'
        ) from error


def _names(content: dict) -> tuple[str, ...]:
    return tuple(category['name'] for category in content['categories'])


def _some(values: Iterable, most: int = 5) -> str:
    values = list(values)
    shown = ', '.join(str(value) for value in values[:most])
    return shown if len(values) <= most else f'{shown}, ... ({len(values)} in all)'
