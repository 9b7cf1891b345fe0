"""Train one trial of a search in a process of its own, and stop it when it falls behind."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmattn.study.controller import end_processes, start_run
from mmattn.study.lock import end_owner, is_locked
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
        watch: Called with the number and the metric of each evaluation; True stops the training. So are those
            of a process that goes on in the folder because its search was killed.
        every: Seconds between two looks at the record of the training.

    Returns:
        The metric of the last evaluation.

    Raises:
        TrialFailed: If the training ended with an error, or its evaluations do not have the metric.
    """
    lock = run.folder / LOCK
    values: list[float] = []

    def watched(ended: Callable[[], int | None]) -> bool:
        return _watched(run.folder, metric, watch, every, values, ended)

    # what is there already, and what a process adds that a search left behind when it was killed
    behind = watched(lambda: None if is_locked(lock) else 0)
    if behind:
        end_owner(lock)
    elif read_record(run.folder)['status'] not in (FINISHED, PRUNED):
        process = start_run(run)
        try:
            behind = watched(process.poll)
        finally:
            end_processes([process])
        record = read_record(run.folder)
        if not behind and record['status'] != FINISHED:
            ended = f'its process ended with {process.returncode}; see {run.folder / OUTPUT}'
            raise TrialFailed(record.get('error') or ended)
    if not values:
        raise TrialFailed(f'it was never evaluated; see {run.folder / OUTPUT}')
    record = read_record(run.folder)
    if behind and record['status'] != FINISHED and not is_locked(lock):
        # without what it may have evaluated since, so that it is always read as it was judged
        evaluations = record['evaluations'][: len(values)]
        write_record(run.folder, record | dict(status=PRUNED, evaluations=evaluations))
    return values[-1]


def _watched(
    folder: Path,
    metric: str,
    watch: Watch,
    every: float,
    values: list[float],
    ended: Callable[[], int | None],
) -> bool:
    """Add the metric of each evaluation to ``values`` until the trial falls behind or has ended.

    Returns:
        Whether it fell behind.
    """
    while True:
        code = ended()
        for evaluation in read_record(folder).get('evaluations', [])[len(values) :]:
            values.append(_metric(evaluation['metrics'], metric))
            if watch(len(values), values[-1]):
                return True
        if code is not None:
            return False
        time.sleep(every)


def _metric(metrics: Mapping[str, float], name: str) -> float:
    if name not in metrics:
        raise TrialFailed(f'its evaluations have no {name!r}; they have {", ".join(metrics)}')
    return float(metrics[name])
