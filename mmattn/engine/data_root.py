"""Read a config with the data root of this machine, so that no config needs editing."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any
from unittest import mock

from mmengine.config import Config
from mmengine.logging import print_log

from mmattn.engine.data.copies import restore_given
from mmattn.engine.merge_options import RUN_KEYS, merge_options
from mmattn.engine.mistakes import BUILD_ERRORS, user_input

DATA_ROOT_VARIABLE = 'MMATTN_DATA_ROOT'
"""Environment variable: the folder of the data set, where ``--data-root`` is not given."""
_PARTS = ('train_dataloader', 'val_dataloader', 'test_dataloader', 'val_evaluator', 'test_evaluator')


def load_config(
    config: str, data_root: str | None = None, cfg_options: Mapping[str, Any] | None = None
) -> Config:
    """Read a config file with the data root and the options of the command line.

    The data root is ``data_root``, else the environment variable ``MMATTN_DATA_ROOT``, else the config's
    own. mmattn's configs read the variable. In any other config (one of MMDetection's, or one that an
    earlier run left in its work directory) the root is replaced wherever it occurs in the dataloaders and
    evaluators. ``cfg_options`` are applied last, so they win.

    Args:
        config: Config file, or ``mmdet::FOLDER/FILE.py``.
        data_root: Folder of the data set, with or without a slash at the end.
        cfg_options: Options as MMDetection's tools take them.

    Raises:
        FileNotFoundError: If there is no such config file.
        ValueError: If the config cannot be read or its data root cannot be replaced.
    """
    root = data_root or os.environ.get(DATA_ROOT_VARIABLE)
    # Set only while this config is read, so that the next one read by this process keeps its own root.
    with mock.patch.dict(os.environ, {DATA_ROOT_VARIABLE: root} if root else {}):
        cfg = read_config(config)
    restore_given(cfg)
    if root and DATA_ROOT_VARIABLE not in cfg.env_variables:
        replace_data_root(cfg, root)
    if cfg_options:
        merge_options(cfg, cfg_options, RUN_KEYS)
    return cfg


def require_model(cfg: Config, config: str) -> None:
    """Raise a ``ValueError`` if a config has no model, as one that is only a base for others."""
    model = cfg.get('model')
    if not isinstance(model, dict) or not model:
        raise ValueError(f"config '{config}' has no model: give the config of a whole detector")
    found = model.get('type')
    if not isinstance(found, (str, type)) or isinstance(found, str) and not found.rpartition('.')[2]:
        raise ValueError(
            f"the model of config '{config}' has type={found!r}: give the type of a detector, "
            "such as 'FasterRCNN', or 'mmattn.WithAttention'"
        )


def read_config(config: str) -> Config:
    """Read a config file as it is; see :func:`load_config` for the errors."""
    if '::' not in config and not os.path.isfile(config):
        raise FileNotFoundError(f"no config file '{config}' (looked in {os.getcwd()})")
    what = f"config '{config}' cannot be read"
    try:
        with user_input(what):
            if os.path.isfile(config):
                return Config.fromfile(config)
            from mmengine.hub import get_config

            return get_config(config)
    except BUILD_ERRORS:
        raise
    except Exception as error:  # a config is code, which may raise anything
        raise ValueError(f'{what}: {type(error).__name__}: {error}') from error


def replace_data_root(cfg: Config, root: str) -> None:
    """Replace the data root in a config that does not read ``MMATTN_DATA_ROOT``.

    Raises:
        ValueError: If the config's dataloaders and evaluators have no data root, or several.
    """
    found = set()
    for part in _PARTS:
        _collect_roots(cfg.get(part), found)
    if len(found) != 1:
        what = f'has several: {", ".join(sorted(found))}' if found else 'has none'
        raise ValueError(
            f"cannot set the data root to '{root}': one data_root to replace was expected in the "
            f'dataloaders of {cfg.filename}, but it {what}. Set the paths with --cfg-options, for '
            'instance train_dataloader.dataset.data_root=..., and leave out --data-root and '
            f'{DATA_ROOT_VARIABLE}'
        )
    old, new = found.pop(), root.rstrip('/') + '/'
    count = sum(_replace(cfg.get(part), old, new) for part in _PARTS)
    if isinstance(cfg.get('data_root'), str):
        cfg.data_root = new
    if new != old.rstrip('/') + '/':
        print_log(f'data root: {new} instead of {old} ({count} places)', logger='current')


def _collect_roots(node: Any, found: set[str]) -> None:
    if isinstance(node, dict):
        if isinstance(node.get('data_root'), str) and node['data_root']:
            found.add(node['data_root'].rstrip('/'))
        node = node.values()
    if not isinstance(node, str) and hasattr(node, '__iter__'):
        for child in node:
            _collect_roots(child, found)


def _replace(node: Any, old: str, new: str) -> int:
    """Replace the folder ``old`` by ``new`` in all strings; return in how many."""
    if not isinstance(node, (dict, list)):
        return 0
    count = 0
    for key, value in list(node.items()) if isinstance(node, dict) else enumerate(node):
        if isinstance(value, str) and (value == old or value.startswith(old + '/')):
            node[key] = new + value[len(old) :].lstrip('/')
            count += 1
        else:
            count += _replace(value, old, new)
    return count
