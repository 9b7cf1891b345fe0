"""``run.json``: what a run says of itself while it trains and when it has ended."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmattn.files import write_file
from mmattn.study.lock import is_locked

RECORD, LOCK, CONFIG, OUTPUT = 'run.json', 'run.lock', 'config.py', 'output.log'
"""Files of a run's folder: its record, its lock, its config, and what its processes print."""
GIVEN = 'given.json'
"""The settings that a run was given; into its config MMEngine writes what was made of them."""
DETECTIONS = 'detections'
"""How the files of the final evaluation begin: ``detections.bbox.json``, ``detections.segm.json``."""
WAITING, RUNNING, INTERRUPTED, FAILED, FINISHED = 'waiting', 'running', 'interrupted', 'failed', 'finished'


def read_record(folder: str | os.PathLike) -> dict[str, Any]:
    """Return the record of a run; empty if there is none yet."""
    try:
        return json.loads(Path(folder, RECORD).read_text(encoding='utf-8'))
    except FileNotFoundError:
        return {}


def write_record(folder: str | os.PathLike, record: Mapping[str, Any]) -> None:
    """Write the record of a run."""
    write_file(Path(folder, RECORD), json.dumps(record, indent=1))


def state_of(folder: str | os.PathLike) -> str:
    """Return where a run stands: waiting, running, interrupted, failed or finished.

    A run whose process was killed still says that it is running; its lock tells.
    """
    status = read_record(folder).get('status', WAITING)
    if status != FINISHED and is_locked(Path(folder, LOCK)):
        return RUNNING
    return INTERRUPTED if status == RUNNING else status


def config_text(cfg: Config) -> str:
    """Return all settings of a config as JSON, the same text for the same settings."""
    return json.dumps(cfg.to_dict(), sort_keys=True, default=repr)


def config_hash(cfg: Config) -> str:
    """Return a hash of all settings of a config."""
    return hashlib.sha256(config_text(cfg).encode()).hexdigest()


def file_hash(path: str | os.PathLike) -> str:
    """Return a hash of a file."""
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
