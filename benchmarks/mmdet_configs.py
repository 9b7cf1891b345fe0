"""Find the configs that MMDetection ships, tell them apart, and build their models without a download."""

from __future__ import annotations

import json
import re
from pathlib import Path

from mmengine import Config
from mmengine.registry import MODELS, DefaultScope
from mmengine.utils import get_installed_path
from torch import Tensor, nn

from mmattn.cost import list_configs

# Keys of a model's config that change neither the modules that attention can follow nor the maps there:
# where weights come from, how inputs are normalised, training and testing, classes.
_BESIDE = {
    'init_cfg',
    'pretrained',
    'teacher_ckpt',
    'checkpoint',
    'data_preprocessor',
    'train_cfg',
    'test_cfg',
    'semi_train_cfg',
    'semi_test_cfg',
    'num_classes',
    '_scope_',
}

# Packages that some configs need besides the requirements of MMDetection.
_PACKAGES = ('mmpretrain', 'transformers', 'detectron2', 'timm', 'lap', 'motmetrics', 'fairscale', 'nltk')
# Plainer words for some errors; a group of the pattern replaces {}.
_PLAINLY = (
    (r'^FileNotFoundError', 'inherits from a config that mmdet does not ship'),
    (r'(\w+)_impl: implementation for device cpu not found', "mmcv's {} is for GPUs only"),
    (r'Default process group has not been initialized', 'has a synchronised norm that needs a process group'),
)


class Trunk(nn.Module):
    """Backbone and neck of a detector whose other parts cannot be built."""

    def __init__(self, backbone: nn.Module, neck: nn.Module | None):
        super().__init__()
        self.backbone = backbone
        self.neck = neck

    def extract_feat(self, image: Tensor):
        features = self.backbone(image)
        return features if self.neck is None else self.neck(features)


def shipped_folder() -> Path:
    """Return the folder of MMDetection's configs, in an installed package or in a source tree."""
    package = Path(get_installed_path('mmdet'))
    folders = [package / '.mim' / 'configs', package / 'configs', package.parent / 'configs']
    for folder in folders:
        if (folder / '_base_').is_dir():
            return folder
    raise FileNotFoundError(
        f'mmdet is installed without its configs; looked in {", ".join(map(str, folders))}. Install it with '
        '`mim install mmdet`, or from source'
    )


def shipped_configs() -> list[str]:
    """Return the sorted paths of all configs relative to :func:`shipped_folder`, without ``_base_``."""
    return sorted(list_configs(shipped_folder()))


def shipped_model(name: str) -> dict | None:
    """Return the model of a config as a plain dict without weights to load; ``None`` if it has none.

    Raises:
        Exception: Whatever loading the config raises; see :func:`failure_reason`.
    """
    cfg = Config.fromfile(str(shipped_folder() / name)).get('model')
    if cfg is None:
        return None
    cfg = _without_weights(cfg.to_dict())
    teacher = cfg.get('teacher_config')
    if isinstance(teacher, str):  # relative to the folder that holds 'configs'
        cfg['teacher_config'] = str(shipped_folder().parent / teacher)
    return cfg


def signature(cfg: dict) -> str:
    """Return a text that is the same for models that differ only in weights, losses, inputs and classes."""
    return json.dumps(_structure(cfg), sort_keys=True, default=str)


def build_shipped_model(cfg: dict) -> nn.Module:
    """Build the model that :func:`shipped_model` returned, in eval mode, without initialising its weights."""
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(Config(dict(model=cfg)).model)
    model.eval()  # the eval() of some models returns None
    return model


def build_trunks(cfg: dict) -> nn.Module | None:
    """Build the backbones and necks of a model, if they can be built; ``None`` if none can."""
    model = nn.Module()
    for name, trunk in _trunks(cfg).items():
        model.add_module(name, trunk)
    model.eval()
    return model if list(model.children()) else None


def failure_reason(error: BaseException) -> str:
    """Say why a config did not load or build, in a few words that depend on the cause alone."""
    text = f'{type(error).__name__}: {error}'
    for package in _PACKAGES:
        if re.search(rf'\b{package}\b', text, re.IGNORECASE):
            return f'needs {package}, which is not installed'
    for pattern, plainly in _PLAINLY:
        found = re.search(pattern, text)
        if found:
            return plainly.format(*found.groups())
    return text.strip().splitlines()[0][:160]


def _without_weights(value):
    if isinstance(value, dict):
        return {
            key: None if key in ('init_cfg', 'pretrained', 'teacher_ckpt') else _without_weights(v)
            for key, v in value.items()
        }
    if isinstance(value, (list, tuple)):
        return type(value)(map(_without_weights, value))
    return value


def _structure(value):
    if isinstance(value, dict):
        return {
            key: _structure(v)
            for key, v in value.items()
            if key not in _BESIDE and not key.startswith('loss')
        }
    if isinstance(value, (list, tuple)):
        return [_structure(v) for v in value]
    return value


def _trunks(cfg: dict, name: str = 'detector') -> dict[str, Trunk]:
    found = {}
    if isinstance(cfg.get('backbone'), dict):
        neck = cfg.get('neck')
        try:
            with DefaultScope.overwrite_default_scope('mmdet'):
                found[name] = Trunk(MODELS.build(cfg['backbone']), neck and MODELS.build(neck))
        except Exception:  # the error of the whole model is reported
            return found
    for key, value in cfg.items():
        if isinstance(value, dict):
            found.update(_trunks(value, key))
    return found
