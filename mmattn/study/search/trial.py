"""Train one trial of a search in a process of its own, and stop it when it falls behind."""

from __future__ import annotations

import hashlib
import json
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmattn.study.controller import end_processes, start_run
from mmattn.study.lock import is_locked
from mmattn.study.plan import Run, prepare_run, run_config
from mmattn.study.record import FINISHED, LOCK, OUTPUT, config_hash, read_record, write_record

PRUNED = 'pruned'
Watch = Callable[[int, float], bool]


class TrialFailed(RuntimeError):
    """A training that ended with an error."""


def trial_folder(trials: Path, variant: Mapping[str, Any]) -> Path:
    """Return the folder of a variant; the same variant has the same, whichever trial chooses it."""
    text = json.dumps(variant, sort_keys=True, default=repr)
    return trials / hashlib.sha256(text.encode()).hexdigest()[:12]


def prepare_trial(run: Run, cfg: Config, search: str) -> None:
    """Write the config and the record of a trial's training into its folder, unless they are there."""
    if not read_record(run.folder):
        cfg = run_config(cfg, run.seed)
        prepare_run(run, cfg, search, dict(config=config_hash(cfg)))


def train_trial(run: Run, metric: str, watch: Watch, every: float = 0.5) -> float:
    """Train a trial to its end, or until it is pruned.

    Args:
        run: What :func:`prepare_trial` has prepared. A training that was interrupted goes on; of one that is
            finished, what it found is read.
        metric: Name of the metric.
        watch: Called with the number and the metric of each evaluation; True stops the training.
        every: Seconds between two looks at the record of the training.

    Returns:
        The metric of the last evaluation.

    Raises:
        TrialFailed: If the training ended with an error, or its evaluations do not have the metric.
    """
    while is_locked(run.folder / LOCK):  # by a process that a search left behind when it was killed
        time.sleep(every)
    done = read_record(run.folder)['status'] in (FINISHED, PRUNED)
    process = None if done else start_run(run)
    try:
        values, behind = _watched(run.folder, metric, watch, every, process)
    finally:
        if process is not None:
            end_processes([process])
    record = read_record(run.folder)
    if behind and record['status'] != FINISHED:
        # without what it may have evaluated since, so that it is always read as it was judged
        evaluations = record['evaluations'][: len(values)]
        write_record(run.folder, record | dict(status=PRUNED, evaluations=evaluations))
    return values[-1]


def _watched(
    folder: Path, metric: str, watch: Watch, every: float, process: subprocess.Popen | None
) -> tuple[list[float], bool]:
    """Return the metric of each evaluation, to the last or to that at which it fell behind, and whether."""
    values: list[float] = []
    while True:
        code = 0 if process is None else process.poll()
        record = read_record(folder)
        for evaluation in record.get('evaluations', [])[len(values) :]:
            values.append(_metric(evaluation['metrics'], metric))
            if watch(len(values), values[-1]):
                return values, True
        if code is None:
            time.sleep(every)
        elif code or (process is not None and record['status'] != FINISHED):
            raise TrialFailed(record.get('error') or f'its process ended with {code}; see {folder / OUTPUT}')
        elif not values:
            raise TrialFailed(f'it was never evaluated; see {folder / OUTPUT}')
        else:
            return values, False


def _metric(metrics: Mapping[str, float], name: str) -> float:
    if name not in metrics:
        raise TrialFailed(f'its evaluations have no {name!r}; they have {", ".join(metrics)}')
    return float(metrics[name])
