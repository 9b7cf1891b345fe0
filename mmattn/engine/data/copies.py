"""Normalised copies of annotation files in the work directory, which data sets and metrics read instead."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log

from mmattn.engine.data.examination import Examination
from mmattn.engine.data.sources import Source
from mmattn.files import write_file

GIVEN = 'given_ann_files'
"""Key of a config: the annotation files that the user gave, by their places, where a copy is read instead."""


def use_copies(cfg: Config, checked: Sequence[tuple[Source, Examination]], write: bool = True) -> None:
    """Make a config read a normalised copy of each annotation file that needed a repair.

    The copies are below ``cfg.work_dir``. The user's files stay as they are, and the config says which they
    were, so that :func:`restore_given` can take the copies out again.

    Args:
        cfg: The config, whose ``ann_file`` are changed.
        checked: What :func:`~mmattn.engine.data.check.check_data` returned.
        write: Whether to write the files too; one process of a machine does.
    """
    for source, data in checked:
        if not (data.is_repaired or data.drop_bad_images):
            continue
        path = _copy_path(cfg.work_dir, data)
        if write and source == data.source:
            _write(path, data)
        top = source.key.partition('.')[0]
        cfg[top] = deepcopy(cfg[top])  # in most configs val's and test's are one object
        node, last = _node(cfg, source.key)
        cfg[GIVEN] = {**cfg.get(GIVEN, {}), source.key: node[last]}
        node[last] = path


def restore_given(cfg: Config) -> None:
    """Make a config that a run left in its work directory read the user's annotation files again."""
    for key, path in (cfg.pop(GIVEN, None) or {}).items():
        node, last = _node(cfg, key)
        node[last] = path


def _copy_path(work_dir: str, data: Examination) -> str:
    """Return a path that is the same in all processes of a machine, whatever they know of the images."""
    source = data.source
    about = os.stat(source.path)
    key = (
        os.path.realpath(source.path),
        about.st_size,
        about.st_mtime_ns,
        source.classes,
        source.folder,
        source.loader and (source.loader.color_type, source.loader.backend),
        data.drop_bad_images,
    )
    name = os.path.splitext(os.path.basename(source.path))[0]
    digest = hashlib.sha256(repr(key).encode()).hexdigest()[:8]
    return os.path.join(os.path.abspath(work_dir), 'data', f'{name}-{digest}.json')


def _write(path: str, data: Examination) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    write_file(path, json.dumps(data.content))
    text = f"{data.source.where}: a normalised copy of '{data.source.path}' is read instead of it: '{path}'"
    if data.dropped:
        listed = f'{path[: -len(".json")]}.dropped.txt'
        write_file(listed, ''.join(f'{name}\t{reason}\n' for name, reason in data.dropped))
        text += f"; the {len(data.dropped)} images that it leaves out are listed in '{listed}'"
    print_log(text, logger='current')


def _node(cfg: Config, key: str) -> tuple[Any, Any]:
    """Return what contains the value at a dotted key, and the value's key in it."""
    *path, last = (int(part) if part.isdecimal() else part for part in key.split('.'))
    node = cfg
    for part in path:
        node = node[part]
    return node, last
