"""Where the data lies is a property of the machine, so no config needs editing for it."""

import os
from unittest import mock

from mmengine.config import Config
from mmengine.logging import print_log

DATA_ROOT_VARIABLE = 'MMATTN_DATA_ROOT'
_PARTS = ('train_dataloader', 'val_dataloader', 'test_dataloader', 'val_evaluator', 'test_evaluator')


def load_config(config, data_root=None, cfg_options=None):
    """Read a config file with the data root and the options of the command line.

    The data root is ``data_root``, else the environment variable ``MMATTN_DATA_ROOT``, else what
    the config says. mmattn's own configs read the variable; in any other config (mmdet's, or one
    that an earlier run left in its work directory) the root is replaced wherever it stands in the
    dataloaders and evaluators. ``cfg_options`` are applied last, so they win.

    Args:
        config (str): Config file; ``mmdet::...`` works too.
        data_root (str, optional): Folder of the data set, with or without a slash at the end.
        cfg_options (dict, optional): Options as MMDetection's tools take them.
    """
    root = data_root or os.environ.get(DATA_ROOT_VARIABLE)
    # Only while the config is read, so that the next one in this process is not moved as well.
    with mock.patch.dict(os.environ, {DATA_ROOT_VARIABLE: root} if root else {}):
        cfg = _read(config)
    if root and DATA_ROOT_VARIABLE not in cfg.env_variables:
        replace_data_root(cfg, root)
    if cfg_options:
        cfg.merge_from_dict(cfg_options)
    return cfg


def _read(config):
    if '::' in config and not os.path.exists(config):
        from mmengine.hub import get_config

        return get_config(config)
    if not os.path.isfile(config):
        raise FileNotFoundError(f"no config file '{config}' (looked in {os.getcwd()})")
    return Config.fromfile(config)


def replace_data_root(cfg, root):
    """Replace the data root in a config that does not read ``MMATTN_DATA_ROOT``.

    Raises:
        ValueError: No data root, or several, in the config's dataloaders and evaluators.
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
    print_log(f'data root: {new} instead of {old} ({count} places)', logger='current')


def _collect_roots(node, found):
    if isinstance(node, dict):
        if isinstance(node.get('data_root'), str) and node['data_root']:
            found.add(node['data_root'].rstrip('/'))
        node = node.values()
    if not isinstance(node, str) and hasattr(node, '__iter__'):
        for child in node:
            _collect_roots(child, found)


def _replace(node, old, new):
    """Put ``new`` for the folder ``old`` in all strings; return in how many."""
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
