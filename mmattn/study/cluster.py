"""Run a study on a Slurm cluster: a job for each run, submitted through submitit."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmattn.engine.mistakes import user_input
from mmattn.files import write_file
from mmattn.study.controller import note_failure
from mmattn.study.plan import Run
from mmattn.study.progress import Progress
from mmattn.study.record import FINISHED, state_of
from mmattn.study.worker import train_run

POLL = 10.0
"""Seconds between two looks at the jobs."""
JOBS = 'jobs.json'
# What submitit's executors share; all else is Slurm's own.
_SHARED = ('name', 'timeout_min', 'mem_gb', 'nodes', 'cpus_per_task', 'gpus_per_node', 'tasks_per_node')


class RunTask:
    """The task of a job. When its time is up, or it is preempted, submitit puts it into the queue again."""

    def __init__(self, folder: str):
        self.folder = folder

    def __call__(self) -> None:
        train_run(self.folder)

    def checkpoint(self) -> Any:
        """Return what goes on in the next job: the run goes on from its last checkpoint by itself."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


@user_input()
def run_on_cluster(
    runs: Sequence[Run],
    work_dir: str | os.PathLike,
    progress: Progress,
    options: Mapping[str, Any],
    cluster: str = 'slurm',
) -> list[Run]:
    """Submit a job for each run that is not finished, and wait for them; return the runs that failed.

    If this process ends before them, the jobs go on. Called again, it waits for those that are still queued
    or running, and submits what is missing.

    Args:
        runs: In the order in which they are submitted.
        work_dir: Folder of the study, which all machines share.
        progress: What is told of them.
        options: Those of the jobs, with submitit's or sbatch's names: ``partition``, ``timeout_min``,
            ``gpus_per_node``, ...
        cluster: ``'slurm'``, or ``'local'`` for processes of this machine.

    Raises:
        ModuleNotFoundError: If submitit is not installed.
        RuntimeError: If this is not a Slurm cluster.
        ValueError: If there is no such option.
    """
    submitit = _submitit()
    folder = Path(work_dir).absolute() / 'jobs'
    executor = submitit.AutoExecutor(folder, cluster=cluster)
    executor.update_parameters(**job_options(options, cluster))
    known = _read_jobs(folder)
    job_class = dict(slurm=submitit.SlurmJob, local=submitit.LocalJob)[cluster]
    jobs = {}
    for run in runs:
        if str(run.folder) in known and state_of(run.folder) != FINISHED:
            job = job_class(folder, known[str(run.folder)])
            if not job.done(force_check=True):
                jobs[run] = job
    new = [run for run in runs if run not in jobs and state_of(run.folder) != FINISHED]
    with executor.batch():
        submitted = [executor.submit(RunTask(str(run.folder.absolute()))) for run in new]
    jobs |= dict(zip(new, submitted))
    write_file(folder / JOBS, json.dumps(known | {str(run.folder): job.job_id for run, job in jobs.items()}))
    return _wait(jobs, progress)


def _wait(jobs: dict[Run, Any], progress: Progress) -> list[Run]:
    failed = []
    with progress:
        while jobs:
            for run, job in list(jobs.items()):
                if job.done():
                    del jobs[run]
                    if state_of(run.folder) != FINISHED:
                        note_failure(run, f'its job {job.job_id} ended; {job.paths.stderr} may say why')
                        failed.append(run)
                    progress.ended(run)
            progress.update([run for run in jobs if state_of(run.folder) == 'running'])
            if jobs:
                time.sleep(POLL)
    return failed


def job_options(options: Mapping[str, Any], cluster: str) -> dict[str, Any]:
    """Return the options of jobs as submitit names them; a day and a GPU each, unless they say otherwise."""
    found: dict[str, Any] = dict(name='study', timeout_min=24 * 60, gpus_per_node=1)
    if cluster != 'slurm':
        found = dict(name='study', timeout_min=24 * 60)
    for key, value in options.items():
        found[key if key in _SHARED else f'{cluster}_{key}'] = value
    return found


def _read_jobs(folder: Path) -> dict[str, str]:
    """The jobs that were submitted last, by the folders of their runs."""
    path = folder / JOBS
    return json.loads(path.read_text(encoding='utf-8')) if path.is_file() else {}


def _submitit() -> Any:
    try:
        import submitit
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            '--slurm needs submitit, which is not installed: pip install submitit (the extra study). Without '
            'it, --print-commands prints a command for each run'
        ) from error
    return submitit
