"""Build the model of a config file, without its pretrained weights."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from mmattn.checkpoints import refuse_code
from mmattn.engine.data import DataRefused, classes_instead, read_classes
from mmattn.engine.data.classes import check_heads
from mmattn.engine.data.sources import find_sources
from mmattn.engine.data_root import DATA_ROOT_VARIABLE, load_config, require_model
from mmattn.engine.mistakes import user_input


def build_model(
    config: str, cfg_options: Mapping[str, Any] | None = None, data_root: str | None = None
) -> nn.Module:
    """Build the model of a config without its pretrained weights.

    A config that reads its classes from a data folder gets COCO's 80 classes if no data root is set, and a
    log line says so. A warning says if the data of the root has another number of classes than the model.

    Args:
        config: Config file, or ``mmdet::FOLDER/FILE.py``, or that of another codebase, such as
            ``mmpretrain::FOLDER/FILE.py``.
        cfg_options: Changes to the config, as MMDetection's tools take them.
        data_root: Folder of the data set; see :func:`~mmattn.engine.data_root.load_config`.
    """
    with user_input(f'no model was built from {config}'):
        return _build(config, cfg_options, data_root)


def _build(config: str, cfg_options: Mapping[str, Any] | None, data_root: str | None) -> nn.Module:
    from mmdet.datasets import CocoDataset

    cfg = load_without_data(config, data_root, cfg_options, CocoDataset.METAINFO['classes'], 'COCO')
    require_model(cfg, config)
    if data_root or os.environ.get(DATA_ROOT_VARIABLE):
        _tell_of_other_classes(cfg, config)
    _drop_pretrained(cfg.model)
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope') or 'mmdet'), refuse_code():
        return MODELS.build(cfg.model)


def load_without_data(
    config: str,
    data_root: str | None,
    cfg_options: Mapping[str, Any] | None,
    classes: Sequence[str] | None,
    whose: str,
) -> Config:
    """Read a config as :func:`~mmattn.engine.data_root.load_config` does, though its data need not be there.

    Args:
        config: Config file, or ``mmdet::FOLDER/FILE.py``.
        data_root: Folder of the data set. If it is set, here or by ``MMATTN_DATA_ROOT``, it has to be right.
        cfg_options: Changes to the config.
        classes: Names for a config that reads its classes from a data set that is not there.
        whose: Whose classes these are, for the log.
    """
    known = data_root or os.environ.get(DATA_ROOT_VARIABLE)
    with classes_instead(None if known else classes) as assumed:
        cfg = load_config(config, data_root, cfg_options)
    if assumed:
        print_log(
            f'{config} reads its classes from the data, and no data root was given: it now has the '
            f'{len(assumed)} classes of {whose}. --data-root or {DATA_ROOT_VARIABLE} names the data',
            logger='current',
        )
    return cfg


def _tell_of_other_classes(cfg: Config, config: str) -> None:
    """Warn if heads have another number of classes than the annotation file that they would be trained on."""
    try:
        for source in find_sources(cfg, 'train'):
            check_heads(cfg.model, len(read_classes(source.path)), source.path)
    except (DataRefused, FileNotFoundError) as error:
        print_log(f'{config}: {error}', logger='current', level=logging.WARNING)


def _drop_pretrained(node: Any) -> None:
    """Remove the pretrained weights of backbones, also inside a wrapper's ``detector``, and of teachers."""
    if isinstance(node, dict):
        if node.get('teacher_ckpt') is not None:
            node['teacher_ckpt'] = None
        if isinstance(node.get('backbone'), dict):
            node['backbone']['init_cfg'] = None
        node = node.values()
    if not isinstance(node, str) and hasattr(node, '__iter__'):
        for child in node:
            _drop_pretrained(child)
