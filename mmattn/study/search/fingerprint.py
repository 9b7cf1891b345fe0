"""What the trials of one search have in common: settings, the detector's config, data. Others are refused."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import optuna
from mmengine.config import Config

from mmattn.engine import DATA_ROOT_VARIABLE, load_config
from mmattn.files import write_file
from mmattn.study.plan import annotation_files, differences
from mmattn.study.record import config_text, file_hash
from mmattn.study.search.settings import SearchSettings
from mmattn.study.search.space import cover
from mmattn.study.variant_config import base_path

FINGERPRINT = 'search.json'
"""File of a search's folder: what its trials have in common."""
_SETTINGS = 'settings'


def fingerprint_of(
    settings: SearchSettings,
    folder: str,
    config_of: Callable[[Mapping[str, Any]], Config],
    data_root: str | None = None,
) -> dict[str, Any]:
    """Return what the trials of a search have in common.

    Machines that work on one search may have the data in different folders: of the data, the contents of the
    annotation files count.

    Args:
        settings: What is searched.
        folder: Where the path of ``base`` begins.
        config_of: Returns the config of a variant.
        data_root: Folder of the data set, as for ``tools/train.py``.
    """
    root = (data_root or os.environ.get(DATA_ROOT_VARIABLE, '')).rstrip('/')
    found = dict(settings.common, base_configs={}, annotations={})
    others = [each.get('base', settings.base) for each in cover(settings.variant)]
    for base in dict.fromkeys([settings.base, *others]):
        cfg = load_config(base_path(base, folder), data_root)
        found['base_configs'][base] = _without_root(json.loads(config_text(cfg)), root)
        for part, path in annotation_files(config_of(dict(base=base))):
            if os.path.isfile(path):
                found['annotations'][f'{base}: {part}'] = file_hash(path)
    return json.loads(json.dumps(found, default=repr))


def _without_root(node: Any, root: str) -> Any:
    if isinstance(node, dict):
        return {key: _without_root(value, root) for key, value in node.items()}
    if isinstance(node, list):
        return [_without_root(value, root) for value in node]
    inside = isinstance(node, str) and root and (node == root or node.startswith(f'{root}/'))
    return node[len(root) :].lstrip('/') if inside else node


def require_same(search: optuna.Study, folder: Path, now: Mapping[str, Any]) -> None:
    """Raise ``ValueError`` if the trials of a search were begun with something else in common.

    Args:
        search: The search, whose storage others may share.
        folder: Its folder, whose trials may be those of another storage.
        now: What :func:`fingerprint_of` returns.
    """
    path = folder / FINGERPRINT
    in_folder = json.loads(path.read_text(encoding='utf-8')) if path.is_file() else None
    for begun in (search.user_attrs.get(_SETTINGS), in_folder):
        changed = [] if begun is None else list(differences(begun, now))
        if changed:
            raise ValueError(
                f'the search {search.study_name!r} was begun with something else '
                f'({", ".join(changed[:5])}{" ..." if len(changed) > 5 else ""}), and its trials would be '
                'compared with others. Undo the change, or give another --work-dir and --storage. '
                'trials, sampler, pruner and confirm can be changed at any time'
            )
    if search.user_attrs.get(_SETTINGS) is None:
        search.set_user_attr(_SETTINGS, now)
    if in_folder is None:
        write_file(path, json.dumps(now, indent=1))
