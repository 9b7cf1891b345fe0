"""Make the config of a variant, and build its detector."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from mmattn.checkpoints import refuse_code
from mmattn.engine import load_config
from mmattn.engine.data_root import require_model
from mmattn.engine.merge_options import RUN_KEYS, merge_options
from mmattn.insertion import brief_log
from mmattn.study.budget import set_budget

_WITH_ATTENTION = 'mmattn.WithAttention'


def variant_config(
    asked: Mapping[str, Any],
    changes: Mapping[str, Any],
    folder: str,
    data_root: str | None = None,
    plain: bool = False,
) -> Config:
    """Return the whole config of a variant.

    Args:
        asked: What all variants have: ``base``, and ``settings`` and ``budget`` if given.
        changes: What the variant changes: ``insert`` for its attention, ``base`` for another detector, and
            any key of a config.
        folder: Where the path of ``base`` begins.
        data_root: Folder of the data set, as for ``tools/train.py``.
        plain: Take attention out.

    Raises:
        FileNotFoundError: If there is no such config, or it reads what is not there.
        ValueError: If it has no detector, does not evaluate as COCO does, or does not fit the budget.
    """
    changes = dict(changes)
    base = changes.pop('base', asked['base'])
    if not isinstance(base, str):
        raise ValueError(f"base is a config file, or 'mmdet::FOLDER/FILE.py'; got {base!r}")
    path = base_path(base, folder)
    cfg = load_config(path, data_root)
    require_model(cfg, path)
    insert = changes.pop('insert', None)
    settings = asked.get('settings') or {}
    merge_options(cfg, _config_dict(settings), RUN_KEYS)
    merge_options(cfg, _config_dict(changes), RUN_KEYS)
    if plain:
        _remove_attention(cfg)
    elif insert is not None:
        _insert(cfg, insert)
    set_budget(cfg, asked.get('budget'), 'param_scheduler' in settings or 'param_scheduler' in changes)
    _keep_one_checkpoint(cfg)
    _require_coco_evaluator(cfg, path)
    return cfg


def base_path(base: str, folder: str) -> str:
    """Return the path of a base config, which begins in a folder unless it is ``mmdet::FOLDER/FILE.py``."""
    return base if '::' in base else os.path.join(folder, base)


def build_detector(cfg: Config) -> nn.Module:
    """Build the detector of a variant without its pretrained weights."""
    import mmdet.models  # noqa: F401  registers the detectors

    scope = cfg.get('default_scope') or 'mmdet'
    with DefaultScope.overwrite_default_scope(scope), refuse_code(), brief_log():
        return MODELS.build(ConfigDict(cfg.model.to_dict()))


def _config_dict(changes: Mapping[str, Any]) -> dict[str, Any]:
    return ConfigDict(changes).to_dict()


def _insert(cfg: Config, insert: Any) -> None:
    """Let a config's detector have attention."""
    model = cfg.model
    if model.type != _WITH_ATTENTION:
        own = 'model' if 'detector' in model else 'detector'
        model[own], model.type = model.type, _WITH_ATTENTION
    model.insert = insert


def _remove_attention(cfg: Config) -> None:
    """Let a config's detector have no attention."""
    model = cfg.model
    if model.type == _WITH_ATTENTION:
        model.type = model.pop('model' if isinstance(model.get('model'), (str, type)) else 'detector')
        for key in ('insert', 'freeze_detector', 'recompute'):
            model.pop(key, None)
        if model.get('widths'):
            model.detector, model.type = model.type, 'mmattn.Pruned'
            for path in [path for path in model.widths if path.startswith('attention.')]:
                del model.widths[path]


def _keep_one_checkpoint(cfg: Config) -> None:
    """Keep the last checkpoint only, unless the config says how many."""
    hook = cfg.setdefault('default_hooks', {}).setdefault(
        'checkpoint', dict(type='CheckpointHook', interval=1)
    )
    if hook is not None and hook.get('max_keep_ckpts', -1) < 1:
        hook['max_keep_ckpts'] = 1


def _require_coco_evaluator(cfg: Config, path: str) -> None:
    evaluators = cfg.get('val_evaluator') or []
    types = [each.get('type') for each in ([evaluators] if isinstance(evaluators, Mapping) else evaluators)]
    if not any(str(each).rpartition('.')[2].startswith('Coco') for each in types):
        raise ValueError(
            f'{path} evaluates with {", ".join(map(str, types)) or "nothing"}: a study compares detections '
            "in COCO's format, which val_evaluator=dict(type='CocoMetric', ...) writes"
        )
