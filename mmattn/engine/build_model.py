"""Build the model of a config file, without its pretrained weights."""

import json
import os
import tempfile
from pathlib import Path

from mmattn.engine.data_root import DATA_ROOT_VARIABLE, load_config


def build_model(config, cfg_options=None):
    """Build a config's model without its pretrained weights.

    A config that reads classes from a folder gets one with COCO's 80 where no data root is set.
    """
    from mmdet.registry import MODELS
    from mmengine.registry import DefaultScope

    if config.endswith('_folder.py') and DATA_ROOT_VARIABLE not in os.environ:
        with tempfile.TemporaryDirectory() as root:
            _write_classes(root)
            cfg = load_config(config, root, cfg_options)
    else:
        cfg = load_config(config, None, cfg_options)
    _drop_pretrained(cfg.model)
    with DefaultScope.overwrite_default_scope('mmdet'):
        return MODELS.build(cfg.model)


def _drop_pretrained(node):
    """Of the backbone wherever it is: a semi-supervised detector has it in its ``detector``."""
    if isinstance(node, dict):
        if isinstance(node.get('backbone'), dict):
            node['backbone']['init_cfg'] = None
        node = node.values()
    if not isinstance(node, str) and hasattr(node, '__iter__'):
        for child in node:
            _drop_pretrained(child)


def _write_classes(root):
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
