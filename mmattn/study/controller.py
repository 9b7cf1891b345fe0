"""Run a study on this machine: a process for each run, several at a time, one GPU each."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mmattn.engine.mistakes import user_input
from mmattn.study.lock import Lock, Locked, is_locked
from mmattn.study.plan import STUDY_LOCK, Run
from mmattn.study.progress import Progress
from mmattn.study.record import FAILED, FINISHED, LOCK, OUTPUT, RUNNING, read_record, state_of, write_record

POLL = 0.5
"""Seconds between two looks at the processes."""


@dataclass
class _Worker:
    """A run that is being trained: by a process of ours, or by one that an earlier controller left behind."""

    run: Run
    gpu: str | None
    process: subprocess.Popen | None


def run_command(run: Run) -> list[str]:
    """Return the command that trains a run, on any machine that has its folder and data."""
    return [sys.executable, '-m', 'mmattn.study', str(run.folder)]


@contextmanager
def study_lock(work_dir: str | os.PathLike) -> Iterator[None]:
    """Exclude another controller from a study's folder.

    Raises:
        Locked: If there is one.
    """
    Path(work_dir).mkdir(parents=True, exist_ok=True)
    with user_input(errors=(Locked,)):
        lock = Lock(Path(work_dir, STUDY_LOCK), f'the study in {work_dir}')
        lock.__enter__()
    try:
        yield
    finally:
        lock.__exit__(None, None, None)


def visible_gpus() -> list[str]:
    """Return the GPUs that this process may use, as ``CUDA_VISIBLE_DEVICES`` names them."""
    if not torch.cuda.is_available():
        return []
    named = os.environ.get('CUDA_VISIBLE_DEVICES')
    if named:
        return named.split(',')
    return [str(index) for index in range(torch.cuda.device_count())]


def run_here(runs: Sequence[Run], workers: int, progress: Progress) -> list[Run]:
    """Train runs in processes of this machine; return those that failed.

    Runs that are finished are left alone, others go on from their last checkpoint. A run that fails is
    reported, and the others go on.

    Args:
        runs: In the order in which they start.
        workers: Number of processes at a time.
        progress: What is told of them.
    """
    gpus = visible_gpus()
    todo = [run for run in runs if state_of(run.folder) != FINISHED]
    left = [run for run in todo if is_locked(run.folder / LOCK)]  # by a controller that was killed
    todo = [run for run in todo if run not in left]
    active = [_Worker(run, None, None) for run in left]
    failed: list[Run] = []
    with _terminated_as_interrupted(), progress:
        try:
            while todo or active:
                active = [each for each in active if not _has_ended(each, todo, failed, progress)]
                while todo and len(active) < workers:
                    run, gpu = todo.pop(0), _free_gpu(gpus, active)
                    active.append(_Worker(run, gpu, start_run(run, workers, gpu)))
                    progress.started(run, gpu)
                progress.update([each.run for each in active])
                time.sleep(POLL)
        finally:
            end_processes([each.process for each in active if each.process is not None])
    return failed


def threads_each(workers: int) -> int:
    """Return the number of threads of each of some processes that share the processors."""
    return max((os.cpu_count() or 1) // workers, 1)


def start_run(run: Run, workers: int = 1, gpu: str | None = None) -> subprocess.Popen:
    """Start the process of a run, which prints into its folder.

    Args:
        run: The run.
        workers: Number of such processes at a time, which share the processors.
        gpu: The GPU that it uses, as ``CUDA_VISIBLE_DEVICES`` names it; all that are visible by default.
    """
    environment = dict(os.environ)
    environment.setdefault('OMP_NUM_THREADS', str(threads_each(workers)))
    if gpu is not None:
        environment['CUDA_VISIBLE_DEVICES'] = gpu
    with open(run.folder / OUTPUT, 'ab') as output:
        return subprocess.Popen(
            run_command(run),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,  # Ctrl-C is for the controller, which ends its workers
        )


def _free_gpu(gpus: Sequence[str], active: Sequence[_Worker]) -> str | None:
    """The GPU with the fewest runs."""
    used = [each.gpu for each in active]
    return min(gpus, key=used.count) if gpus else None


def _has_ended(worker: _Worker, todo: list[Run], failed: list[Run], progress: Progress) -> bool:
    run = worker.run
    if worker.process is None:
        if is_locked(run.folder / LOCK):
            return False
        if state_of(run.folder) != FINISHED:
            todo.insert(0, run)
            return True
    else:
        code = worker.process.poll()
        if code is None:
            return False
        state = state_of(run.folder)
        if state == RUNNING:  # another machine was faster
            worker.process = None
            return False
        if state != FINISHED:
            note_failure(run, f'its process {_ending(code)}')
            failed.append(run)
    progress.ended(run)
    return True


def _ending(code: int) -> str:
    return f'was killed by {signal.Signals(-code).name}' if code < 0 else f'ended with exit code {code}'


def note_failure(run: Run, error: str) -> None:
    """Let the record of a run say why its process ended, if the process could not."""
    record = read_record(run.folder)
    if record.get('status') != FAILED:
        write_record(run.folder, dict(record, status=FAILED, error=error))


def end_processes(processes: Sequence[subprocess.Popen]) -> None:
    """End processes; their runs go on from the last checkpoint some other time."""
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Let SIGTERM end the workers too, as Ctrl-C does."""

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
