"""Which annotation files, image folders and classes a config names."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from mmengine.config import Config
from mmengine.fileio import list_from_file
from mmengine.registry import DATASETS

from mmattn.engine.data.image_loader import ImageLoader, find_loader, find_transform

HOW = 'Set the data root with --data-root or MMATTN_DATA_ROOT, or the file with --cfg-options {}=...'


@dataclass(frozen=True)
class Source:
    """An annotation file with what a config says about it.

    Args:
        part: ``train``, ``val`` or ``test``.
        where: The data set or evaluator in the config.
        path: The annotation file.
        folder: The image folder; None for an evaluator, which reads no images.
        classes: The configured classes, in order.
        loader: How the pipeline decodes images; None if that is not known.
        wants_boxes: Whether the pipeline loads boxes to train on, or a metric compares with them.
        wants_masks: Whether it is masks too.
        root: The data root.
    """

    part: str
    where: str
    path: str
    folder: str | None
    classes: tuple[str, ...]
    loader: ImageLoader | None = None
    wants_boxes: bool = True
    wants_masks: bool = False
    root: str = ''

    @property
    def key(self) -> str:
        """The place of the annotation file in the config."""
        return f'{self.where}.ann_file'


def find_sources(cfg: Config, part: str) -> list[Source]:
    """Return the data sets in COCO format on local disks that a part of a config has, then its evaluators.

    Raises:
        FileNotFoundError: If an annotation file or an image folder is missing.
        TypeError: If the config's classes are a string.
    """
    loader = cfg.get(f'{part}_dataloader') or {}
    evaluators = list(_coco_evaluators(cfg.get(f'{part}_evaluator'), f'{part}_evaluator'))
    found = []
    for where, dataset in leaf_datasets(loader.get('dataset'), f'{part}_dataloader.dataset'):
        source = _read_source(cfg, part, where, dataset)
        if source is not None:
            if part != 'train':
                measured = [metric for _, metric in evaluators if not metric.get('format_only')]
                source = replace(source, wants_boxes=bool(measured), wants_masks=False)
            found.append(source)
    for where, metric in evaluators if found else ():
        if metric.get('ann_file') and '://' not in metric['ann_file']:
            path = metric['ann_file']
            _require_file(path, f'{where}.ann_file')
            found.append(
                Source(part, where, path, None, found[0].classes, wants_boxes=not metric.get('format_only'))
            )
    return found


def leaf_datasets(dataset: Any, where: str) -> Iterator[tuple[str, dict]]:
    """Yield the config path and the config of the data sets inside wrappers such as RepeatDataset."""
    if not isinstance(dataset, dict):
        return
    if 'dataset' in dataset:
        yield from leaf_datasets(dataset['dataset'], f'{where}.dataset')
    elif 'datasets' in dataset:
        for i, child in enumerate(dataset['datasets']):
            yield from leaf_datasets(child, f'{where}.datasets.{i}')
    else:
        yield where, dataset


def _read_source(cfg: Config, part: str, where: str, dataset: dict) -> Source | None:
    coco_class = _coco_class(dataset, cfg.get('default_scope'))
    ann_file, root = dataset.get('ann_file') or '', dataset.get('data_root') or ''
    if coco_class is None or '://' in ann_file or '://' in root:
        return None
    path = os.path.join(root, ann_file)
    _require_file(path, f'{where}.ann_file', _made_by(cfg, root))
    classes = (dataset.get('metainfo') or {}).get('classes', coco_class.METAINFO.get('classes', ()))
    if isinstance(classes, str) and os.path.isfile(classes):  # MMEngine reads a file of names
        classes = list_from_file(classes)
    if isinstance(classes, str):
        raise TypeError(
            f"{where}.metainfo.classes is the string '{classes}', but a tuple of names is needed: "
            f"classes=('{classes}', )"
        )
    folder = os.path.join(root, (dataset.get('data_prefix') or {}).get('img', ''))
    pipeline = dataset.get('pipeline')
    loads = find_transform(pipeline, 'LoadAnnotations')
    return Source(
        part=part,
        where=where,
        path=path,
        folder=folder,
        classes=tuple(classes),
        loader=find_loader(pipeline, f'{where}.pipeline'),
        wants_boxes=pipeline is None or (loads is not None and loads.get('with_bbox', True)),
        wants_masks=loads is not None and bool(loads.get('with_mask')),
        root=root,
    )


def _require_file(path: str, where: str, made_by: str = '') -> None:
    if not os.path.isfile(path):
        raise FileNotFoundError(f"no annotation file '{path}' ({where}). {made_by}{HOW.format(where)}")


def _made_by(cfg: Config, root: str) -> str:
    """Return how to make the data, for configs of generated data; for others, an empty string."""
    command = cfg.get('data_made_by')
    return f'Write it with `{command.format(data_root=shlex.quote(root))}`. ' if command else ''


def _coco_class(dataset: dict, scope: str | None) -> type | None:
    """Return the data set's class if it is MMDetection's for COCO's format, else None."""
    from mmdet.datasets import CocoDataset

    found = dataset.get('type')
    if isinstance(found, str):
        with DATASETS.switch_scope_and_registry(scope or 'mmdet') as registry:
            found = registry.get(found)
    # Subclasses that read another format (LVIS, panoptic, ...) have loaders of their own.
    same = isinstance(found, type) and issubclass(found, CocoDataset)
    return found if same and found.load_data_list is CocoDataset.load_data_list else None


def _coco_evaluators(evaluators: Any, where: str) -> Iterator[tuple[str, dict]]:
    """Yield the config path and the config of COCO metrics."""
    many = isinstance(evaluators, (list, tuple))
    for i, evaluator in enumerate(evaluators if many else [evaluators]):
        if isinstance(evaluator, dict) and 'Coco' in str(evaluator.get('type')):
            yield (f'{where}.{i}' if many else where), evaluator
        elif isinstance(evaluator, dict) and isinstance(evaluator.get('metrics'), (list, tuple)):
            yield from _coco_evaluators(evaluator['metrics'], f'{where}.metrics')
