"""Record a run of a study while it trains: how far it is, its metrics, its detections."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner

from mmattn.registry import HOOKS
from mmattn.study.record import DETECTIONS, read_record, write_record


@HOOKS.register_module()
class RunRecordHook(Hook):
    """Keep ``run.json`` in the work directory up to date, and the detections of evaluations beside it.

    Args:
        keep_detections: ``'last'``: each evaluation's detections replace those of the one before, as
            ``detections.bbox.json``. ``'all'``: they are kept as ``evaluations/epoch_1.bbox.json``.
        every: Seconds between two records of how far the run is.
    """

    priority = 'VERY_LOW'  # the metrics are complete by then

    def __init__(self, keep_detections: str = 'last', every: float = 5.0):
        self.keep_all = keep_detections == 'all'
        self._every = every
        self._folder = Path()
        self._record: dict[str, Any] = {}
        self._began = self._written = time.monotonic()
        self._seconds_before = 0.0

    def before_train(self, runner: Runner) -> None:
        self._folder = Path(runner.work_dir)
        self._record = read_record(self._folder)
        self._began, self._seconds_before = time.monotonic(), self._record.get('seconds', 0.0)
        self._record['first_iteration'] = runner.iter  # of this process: a run may have been resumed
        self._write(runner)

    def after_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        if time.monotonic() - self._written > self._every:
            self._write(runner, runner.iter + 1)

    def before_val(self, runner: Runner) -> None:
        prefix = self._folder / (Path('evaluations', self._step(runner)) if self.keep_all else DETECTIONS)
        prefix.parent.mkdir(parents=True, exist_ok=True)
        for metric in _coco_metrics(runner):
            metric.outfile_prefix = str(prefix)

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        step = self._step(runner)
        prefix = f'evaluations/{step}' if self.keep_all else DETECTIONS
        files = {
            part: f'{prefix}.{part}.json'
            for part in ('bbox', 'segm')
            if (self._folder / f'{prefix}.{part}.json').exists()
        }
        evaluations = [each for each in self._record.get('evaluations', []) if each['step'] != step]
        if not self.keep_all:
            for each in evaluations:
                each['detections'] = {}
        evaluations.append(
            dict(step=step, epoch=runner.epoch, iteration=runner.iter, metrics=metrics, detections=files)
        )
        self._record['evaluations'] = evaluations
        self._write(runner)

    def _step(self, runner: Runner) -> str:
        by_epoch = isinstance(runner.train_loop, EpochBasedTrainLoop)
        return f'epoch_{runner.epoch}' if by_epoch else f'iter_{runner.iter}'

    def _write(self, runner: Runner, iteration: int | None = None) -> None:
        now = time.monotonic()
        self._record.update(
            iteration=runner.iter if iteration is None else iteration,
            iterations=runner.max_iters,
            seconds=round(self._seconds_before + now - self._began, 3),
            seconds_here=round(now - self._began, 3),
        )
        write_record(self._folder, self._record)
        self._written = time.monotonic()


def _coco_metrics(runner: Runner) -> list[Any]:
    return [metric for metric in runner.val_evaluator.metrics if hasattr(metric, 'outfile_prefix')]
