"""Tell how far a study is: a live table in a terminal, lines of text elsewhere."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from mmattn.study.plan import Run
from mmattn.study.record import FAILED, FINISHED, OUTPUT, RUNNING, read_record, state_of

EVERY = 60.0
"""Seconds between two lines where there is no terminal."""


class Progress:
    """How far the runs of a study are.

    Args:
        runs: All runs.
        workers: Number of runs at a time, for the time that is left.
        console: Where to write.
    """

    def __init__(self, runs: Sequence[Run], workers: int = 1, console: Console | None = None):
        self._runs = list(runs)
        self._workers = workers
        self._console = console or Console(file=sys.stdout)
        self._live = Live(console=self._console, refresh_per_second=2) if self._console.is_terminal else None
        self._told = time.monotonic()

    def __enter__(self) -> Progress:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def started(self, run: Run, gpu: str | None = None) -> None:
        """Tell that a run starts, or goes on."""
        at = read_record(run.folder).get('iteration', 0)
        where = f' on GPU {gpu}' if gpu is not None else ''
        self._line(f'{run}: {f"goes on from about iteration {at}" if at else "starts"}{where}')

    def ended(self, run: Run) -> None:
        """Tell how a run ended, and how far the study is."""
        record = read_record(run.folder)
        if record.get('status') == FINISHED:
            text = f'finished in {duration(record["seconds"])}, {metric_text(record)}'
        else:
            text = f'FAILED: {record.get("error", "")} (see {run.folder / OUTPUT})'
        self._line(f'{run}: {text}')
        self._line(self.summary([]))

    def update(self, active: Sequence[Run]) -> None:
        """Tell how far the study is, now and then."""
        if self._live:
            self._live.update(self._table(active))
        elif time.monotonic() - self._told > EVERY:
            self._line(self.summary(active))

    def summary(self, active: Sequence[Run]) -> str:
        """Return a line that says how far the study is."""
        records = {run: read_record(run.folder) for run in self._runs}
        count = [record.get('status') for record in records.values()].count
        text = f'{count(FINISHED)} of {len(self._runs)} runs finished'
        if count(FAILED):
            text += f', {count(FAILED)} failed'
        text += ''.join(f'; {run}: {position_text(records[run])}' for run in active)
        left = time_left(records, self._workers)
        return f'{text}; about {duration(left)} left' if left else text

    def _line(self, text: str) -> None:
        self._console.print(
            f'{time.strftime("%H:%M:%S")} {text}', markup=False, highlight=False, soft_wrap=True
        )
        self._told = time.monotonic()

    def _table(self, active: Sequence[Run]) -> Table:
        table = Table(caption=self.summary([]), caption_justify='left')
        for column in ('run', 'iteration', 'last evaluation', 'left'):
            table.add_column(column)
        for run in active:
            record = read_record(run.folder)
            left = run_left(record)
            table.add_row(
                str(run),
                position_text(record),
                metric_text(record),
                '' if left is None else duration(left),
            )
        return table


def position_text(record: dict[str, Any]) -> str:
    """Return how far a run is, as ``'iteration 20 of 100'``."""
    if 'iterations' not in record:
        return 'not begun'
    return f'iteration {record["iteration"]} of {record["iterations"]}'


def metric_text(record: dict[str, Any]) -> str:
    """Return the first metric of the last evaluation, as ``'bbox_mAP 0.125'``."""
    evaluations = record.get('evaluations')
    if not evaluations or not evaluations[-1]['metrics']:
        return 'not evaluated'
    name, value = next(iter(evaluations[-1]['metrics'].items()))
    return f'{name.rpartition("/")[2]} {value:.3f}'


def run_left(record: dict[str, Any]) -> float | None:
    """Return the seconds that a run still takes at its pace since it was started last; None if unknown."""
    done = record.get('iteration', 0) - record.get('first_iteration', 0)
    if done <= 0 or record.get('status') != RUNNING:
        return None
    return (record['iterations'] - record['iteration']) * record['seconds_here'] / done


def time_left(records: dict[Run, dict[str, Any]], workers: int) -> float | None:
    """Return the seconds until all runs are finished; None if nothing is known yet.

    A run that has not begun takes as long as the mean of its variant's finished runs, else of all.
    """
    took: dict[str, list[float]] = {}
    left = []
    for run, record in records.items():
        status = record.get('status')
        if status == FINISHED:
            took.setdefault(run.variant, []).append(record['seconds'])
        elif status == RUNNING and (seconds := run_left(record)) is not None:
            left.append(seconds)
            took.setdefault('', []).append(record['seconds_here'] + seconds)
    every = [seconds for each in took.values() for seconds in each]
    if not every:
        return None
    for run, record in records.items():
        if record.get('status') not in (FINISHED, FAILED) and run_left(record) is None:
            known = took.get(run.variant, every)
            left.append(sum(known) / len(known))
    return max(sum(left) / workers, max(left, default=0.0))


def duration(seconds: float) -> str:
    """Return a duration as people say it."""
    minutes, hours = round(seconds / 60), round(seconds / 3600, 1)
    return f'{seconds:.0f} s' if seconds < 100 else f'{minutes} min' if minutes < 100 else f'{hours} h'


def status_table(work_dir: str | os.PathLike, runs: Sequence[Run]) -> Table:
    """Return a table of all runs: where each stands, its last metric, its time."""
    table = Table(title=str(work_dir), title_justify='left')
    records = {run: read_record(run.folder) for run in runs}
    some_failed = any('error' in record for record in records.values())
    columns = ['variant', 'seed', 'status', 'iteration', 'last evaluation', 'time', *['error'] * some_failed]
    for column in columns:
        table.add_column(column, overflow='fold')
    for run, record in records.items():
        table.add_row(
            run.variant,
            str(run.seed),
            state_of(run.folder),
            position_text(record).removeprefix('iteration '),
            metric_text(record),
            duration(record.get('seconds', 0.0)),
            *[record.get('error', '')] * some_failed,
        )
    return table
