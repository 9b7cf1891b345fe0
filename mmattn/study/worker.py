"""One run of a study, in a process of its own: train, evaluate, and leave what the report needs."""

from __future__ import annotations

import os
import shutil
import socket
import time
from pathlib import Path

import torch

from mmattn.engine import DATA_ROOT_VARIABLE, load_config, train
from mmattn.engine.machine import describe_machine
from mmattn.engine.mistakes import mistake_text
from mmattn.engine.source_commit import source_commit
from mmattn.study import record_hook  # noqa: F401  registers the hook
from mmattn.study.lock import Lock
from mmattn.study.record import (
    CONFIG,
    DETECTIONS,
    FAILED,
    FINISHED,
    LOCK,
    RUNNING,
    file_hash,
    read_record,
    write_record,
)


def train_run(folder: str | os.PathLike) -> None:
    """Train the run of a folder to its end, from its last checkpoint if it has one, unless it is finished.

    Args:
        folder: Folder of a run, as :func:`~mmattn.study.plan.prepare_folders` makes it.

    Raises:
        Locked: If another process trains it.
        FileNotFoundError: If it is not the folder of a run.
    """
    folder = Path(folder)
    if not (folder / CONFIG).is_file() or not read_record(folder):
        raise FileNotFoundError(f"'{folder}' is not the folder of a run: tools/study.py run makes them")
    with Lock(folder / LOCK, f'the run in {folder}'):
        record = read_record(folder)
        if record['status'] == FINISHED:
            return
        record.pop('error', None)
        # another number of threads may sum in another order, and end with other bits
        torch.set_num_threads(record.setdefault('threads', torch.get_num_threads()))
        began = time.strftime('%Y-%m-%dT%H:%M:%S%z')
        sessions = [
            *record.get('sessions', []),
            dict(began=began, host=socket.gethostname(), pid=os.getpid(), commit=source_commit()),
        ]
        write_record(folder, dict(record, status=RUNNING, sessions=sessions, machine=describe_machine()))
        try:
            _train(folder, record['keep_detections'])
        except Exception as error:
            text = mistake_text(error) or f'{type(error).__name__}: {error}'
            write_record(folder, dict(read_record(folder), status=FAILED, error=text))
            raise
        _finish(folder)


def _train(folder: Path, keep_detections: str) -> None:
    os.environ.pop(DATA_ROOT_VARIABLE, None)  # the run's config has the data's folder
    config = str(folder / CONFIG)
    hook = dict(type='mmattn.RunRecordHook', keep_detections=keep_detections)
    # in a run that goes on, MMEngine has written the hook into the config
    given = load_config(config).get('custom_hooks') or []
    hooks = [each for each in given if not isinstance(each, dict) or each.get('type') != hook['type']]
    train(config, work_dir=str(folder), resume='auto', cfg_options=dict(custom_hooks=[*hooks, hook]))


def _finish(folder: Path) -> None:
    """Put the detections of the last evaluation into their place, and say that the run is finished."""
    record = read_record(folder)
    last = record['evaluations'][-1]
    hashes, final = dict(record['hashes']), {}
    for part, name in last['detections'].items():
        final[part] = f'{DETECTIONS}.{part}.json'
        if name != final[part]:
            copy = folder / f'{final[part]}.copy'
            shutil.copyfile(folder / name, copy)
            copy.replace(folder / final[part])
        hashes[final[part]] = file_hash(folder / final[part])
    record.update(
        status=FINISHED,
        finished=time.strftime('%Y-%m-%dT%H:%M:%S%z'),
        metrics=last['metrics'],
        detections=final,
        hashes=hashes,
    )
    write_record(folder, record)
