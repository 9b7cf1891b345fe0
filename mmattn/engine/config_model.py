"""Build the model of a config file, without its pretrained weights."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from mmattn.checkpoints import refuse_code
from mmattn.engine.data_root import DATA_ROOT_VARIABLE, load_config, require_model
from mmattn.engine.mistakes import user_input


def build_model(config: str, cfg_options: Mapping[str, Any] | None = None) -> nn.Module:
    """Build the model of a config without its pretrained weights.

    A config that reads its classes from a data folder gets COCO's 80 classes if no data root is set.

    Args:
        config: Config file, or ``mmdet::FOLDER/FILE.py``.
        cfg_options: Changes to the config, as MMDetection's tools take them.
    """
    with user_input(f'no model was built from {config}'):
        return _build(config, cfg_options)


def _build(config: str, cfg_options: Mapping[str, Any] | None) -> nn.Module:
    from mmdet.registry import MODELS
    from mmengine.registry import DefaultScope

    if config.endswith('_folder.py') and DATA_ROOT_VARIABLE not in os.environ:
        with tempfile.TemporaryDirectory() as root:
            _write_classes(root)
            cfg = load_config(config, root, cfg_options)
    else:
        cfg = load_config(config, None, cfg_options)
    require_model(cfg, config)
    _drop_pretrained(cfg.model)
    with DefaultScope.overwrite_default_scope('mmdet'), refuse_code():
        return MODELS.build(cfg.model)


def _drop_pretrained(node: Any) -> None:
    """Remove the pretrained weights of all backbones, also of one inside a wrapper's ``detector``."""
    if isinstance(node, dict):
        if isinstance(node.get('backbone'), dict):
            node['backbone']['init_cfg'] = None
        node = node.values()
    if not isinstance(node, str) and hasattr(node, '__iter__'):
        for child in node:
            _drop_pretrained(child)


def _write_classes(root: str) -> None:
    """Write an annotation file with COCO's 80 classes and no objects."""
    from mmdet.datasets import CocoDataset

    path = Path(root, 'annotations', 'train.json')
    path.parent.mkdir()
    names = CocoDataset.METAINFO['classes']
    path.write_text(
        json.dumps(
            dict(
                images=[dict(id=1, file_name='none.jpg', width=1, height=1)],
                annotations=[],
                categories=[dict(id=i, name=name) for i, name in enumerate(names)],
            )
        ),
        encoding='utf-8',
    )
