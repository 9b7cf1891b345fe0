"""Check what a run reads from a config, so that a wrong value is named by its key before all else."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import OPTIMIZERS, DefaultScope

from mmattn.wanted import (
    BOOL,
    COUNT,
    DICT,
    NOTHING,
    POSITIVE,
    SEED,
    TEXT,
    Wanted,
    is_number,
    is_whole,
    shown,
    unfit_values,
    values_at,
)


def _is_config(value: Any) -> bool:
    found = value.get('type') if isinstance(value, Mapping) else None
    return isinstance(found, type) or isinstance(found, str) and bool(found.rpartition('.')[2])


def _is_list(value: Any, of: Callable[[Any], bool]) -> bool:
    return isinstance(value, (list, tuple)) and all(map(of, value))


def _is_object(value: Any) -> bool:
    """Whether this is something already built, which a config may hold in a script."""
    plain = (Mapping, list, tuple, set, str, bytes, bool, int, float, complex)
    return value is not None and not isinstance(value, (*plain, type))


def _is_optimizer(name: str) -> bool:
    try:
        return OPTIMIZERS.get(name) is not None
    except (KeyError, ImportError):
        return False


_NAME = Wanted('a name', lambda value: isinstance(value, str) and bool(value))
_CLASS = Wanted('a class', lambda value: isinstance(value, type))
_PATH = Wanted('a path', lambda value: isinstance(value, (str, os.PathLike)))
_FILE = Wanted('the path of a file', lambda value: _PATH.fits(value) and bool(os.fspath(value)))
_CONFIG = Wanted('a config with a type, such as dict(type=...)', _is_config)
_CONFIGS = Wanted('a list of such', lambda value: _is_list(value, lambda v: _is_config(v) or _is_object(v)))
_OBJECT = Wanted('what is built of it', _is_object)
# MMDetection's configs divide numbers of iterations, which gives floats.
_STEPS = Wanted(POSITIVE.text, lambda v: is_number(v) and v >= 1 and (v == math.inf or v == int(v)))
_RATE = Wanted('a number from 0 on', lambda v: is_number(v) and math.isfinite(v) and v >= 0)
_CLASSES = Wanted(
    "a list of names, such as ('cat', 'dog')", lambda v: isinstance(v, str) or _is_list(v, TEXT.fits)
)
_FOLDERS = Wanted(
    "a dict of folders, such as dict(img='images/')",
    lambda value: isinstance(value, Mapping) and all(isinstance(each, str) for each in value.values()),
)
_TRANSFORMS = Wanted(
    'a list of transforms, such as [dict(type=...)]',
    lambda value: _is_list(value, lambda each: _is_config(each) or callable(each)),
)
_WRAPPER = Wanted(
    "a dict such as dict(type='OptimWrapper', optimizer=dict(type=...))",
    lambda value: isinstance(value, Mapping) and bool(value),
)
_OPTIMIZER = Wanted(
    "an optimizer that is registered, such as dict(type='AdamW', lr=0.0001),",
    lambda value: _is_config(value) and (isinstance(value['type'], type) or _is_optimizer(value['type'])),
)
_LOADER = Wanted('a dict with a dataset', lambda value: isinstance(value, Mapping) and 'dataset' in value)
_HOOK = Wanted('a hook, such as dict(type=...)', lambda v: _is_config(v) or isinstance(v, Hook))
_HOOKS = Wanted('a list of hooks, such as [dict(type=...)]', lambda value: _is_list(value, _HOOK.fits))
_LEVEL = Wanted(
    "a level such as 'INFO'",
    lambda value: is_whole(value, 0) or isinstance(value, str) and is_whole(logging.getLevelName(value), 0),
)
_METRIC = Wanted(
    'a metric, such as dict(type=...)', lambda v: _is_config(v) or isinstance(v, Mapping) and 'metrics' in v
)

_DATASET = {
    'ann_file': TEXT | NOTHING,
    'data_root': TEXT | NOTHING,
    'metainfo': DICT | NOTHING,
    'metainfo.classes': _CLASSES,
    'pipeline': _TRANSFORMS,
}
_KEYS = {
    'work_dir': _PATH | NOTHING,
    'load_from': _FILE | NOTHING,
    'resume': BOOL | NOTHING,
    'exact_resume': BOOL,
    'parse_large_ann_files': BOOL,
    'find_unused_parameters': BOOL,
    'data_made_by': TEXT | NOTHING,
    'weights_made_by': TEXT | NOTHING,
    'custom_hooks': _HOOKS | NOTHING,
    'default_hooks': DICT | NOTHING,
    'default_hooks.*': _HOOK | NOTHING,
    'env_cfg': DICT,
    'env_cfg.dist_cfg': DICT | NOTHING,
    'model_wrapper_cfg': DICT | NOTHING,
    'runner_type': _NAME | _CLASS,
    'log_level': _LEVEL,
    'randomness': DICT,
    'randomness.seed': SEED | NOTHING,
    'optim_wrapper': _WRAPPER | _OBJECT | NOTHING,
    'optim_wrapper.optimizer': _OPTIMIZER | _OBJECT,
    'optim_wrapper.optimizer.lr': _RATE,
    'optim_wrapper.accumulative_counts': POSITIVE,
    'param_scheduler': _CONFIG | _CONFIGS | DICT | NOTHING,
    'auto_scale_lr': DICT | NOTHING,
    'auto_scale_lr.base_batch_size': POSITIVE,
    'train_cfg': DICT | _OBJECT | NOTHING,
    'train_cfg.max_iters': _STEPS,
    'train_cfg.max_epochs': _STEPS,
    'train_cfg.val_interval': _STEPS,
    'train_cfg.val_begin': COUNT,
    **{
        f'{part}_{key}': wanted
        for part in ('train', 'val', 'test')
        for key, wanted in {
            'dataloader': _LOADER | _OBJECT | NOTHING,
            'dataloader.dataset': _CONFIG | _OBJECT,
            'dataloader.batch_size': POSITIVE,
            'dataloader.num_workers': COUNT,
            'evaluator': _METRIC | _CONFIGS | _OBJECT | NOTHING,
            'evaluator.ann_file': TEXT | NOTHING,
            'evaluator.*.ann_file': TEXT | NOTHING,
            'evaluator.metrics.*.ann_file': TEXT | NOTHING,
        }.items()
    },
}
"""What the value of a key must be; ``*`` is any key or place."""


def check_config(cfg: Config) -> None:
    """Raise ``TypeError`` if a key of the config has a value that it cannot have; the message names the key.

    Only keys that the config has are looked at. What fits is checked further where it is used.

    Example:
        >>> from mmengine.config import Config
        >>> from mmattn.engine.check_config import check_config
        >>> check_config(Config(dict(exact_resume='no')))
        Traceback (most recent call last):
        ...
        TypeError: exact_resume='no' in the config, but True or False is needed
    """
    scope = cfg.get('default_scope')
    # MMPretrain's data sets take one folder, which MMDetection's fail at.
    folders = dict(data_prefix=_FOLDERS if scope in (None, 'mmdet') else _FOLDERS | TEXT)
    places = [at for part in ('train', 'val', 'test') for at in _datasets(cfg, f'{part}_dataloader.dataset')]
    keys = {
        **_KEYS,
        **{f'{place}.{key}': wanted for place in places for key, wanted in {**_DATASET, **folders}.items()},
    }
    if not (_NAME | NOTHING).fits(scope):
        raise TypeError(f'default_scope={shown(scope)} in the config, but a name is needed')
    with DefaultScope.overwrite_default_scope(scope):  # for the name of the optimizer
        for key, value, wanted in unfit_values(cfg, keys):
            raise TypeError(f'{key}={shown(value)} in the config, but {wanted.text} is needed')


def _datasets(cfg: Config, place: str) -> Iterator[str]:
    """Yield the places of data sets, also inside wrappers such as RepeatDataset."""
    for name, value in values_at(cfg, place):
        if isinstance(value, Mapping):
            yield name
            yield from _datasets(cfg, f'{name}.dataset')
            yield from _datasets(cfg, f'{name}.datasets.*')
