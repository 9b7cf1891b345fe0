"""The subcommands ``run`` and ``status`` of ``tools/study.py``."""

from __future__ import annotations

import argparse
import math
import shlex
import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console

from mmattn.engine.cli import KeyValueOptions, logs_to_stderr, print_tables
from mmattn.engine.mistakes import user_input
from mmattn.engine.output_path import require_writable_folder
from mmattn.engine.source_commit import source_commit
from mmattn.study.cluster import run_on_cluster
from mmattn.study.commits import other_commit
from mmattn.study.config import read_study
from mmattn.study.controller import run_command, run_here, study_lock
from mmattn.study.estimate import estimate_study, estimate_tables
from mmattn.study.options import add_training_options, default_work_dir, study_folder, workers_of
from mmattn.study.plan import Run, prepare_folders, runs_in
from mmattn.study.progress import Progress, status_table
from mmattn.study.record import FINISHED, read_record


def add_run_command(commands: Any) -> None:
    """Add ``run`` to the subcommands of a parser."""
    parser = commands.add_parser(
        'run',
        help='train what a study still lacks',
        description='Train all variants of a study with all seeds. Finished runs are left alone, others go '
        'on where they were. Exit code 1 if a run failed.',
    )
    add_training_options(parser, 'study', 'runs')
    parser.add_argument(
        '--slurm',
        nargs='*',
        action=KeyValueOptions,
        metavar='KEY=VALUE',
        help='submit a job for each run to Slurm, with these options: partition=gpu timeout_min=600 '
        'gpus_per_node=1 cpus_per_task=4 array_parallelism=8 ... Needs submitit',
    )
    parser.add_argument(
        '--dry-run',
        dest='estimate',
        action='store_true',
        help='train nothing; say what it costs: parameters, operations, hours by a few timed steps, disk',
    )
    parser.add_argument(
        '--step-seconds',
        type=float,
        metavar='SECONDS',
        help='with --dry-run: how long a training step takes where the study will run; nothing is timed here',
    )
    parser.add_argument(
        '--print-commands',
        action='store_true',
        help='train nothing; print a command for each run that is not finished, for any queue',
    )
    parser.set_defaults(call=_run, parser=parser)


def add_status_command(commands: Any) -> None:
    """Add ``status`` to the subcommands of a parser."""
    parser = commands.add_parser('status', help='how far a study is', description='Show how far a study is.')
    parser.add_argument('study', help='folder of the study, or its config file')
    parser.set_defaults(call=_status)


def _run(args: argparse.Namespace) -> None:
    workers = workers_of(args)
    if args.step_seconds is not None and not (args.estimate and 0 < args.step_seconds < math.inf):
        args.parser.error('--step-seconds is a number above 0, and goes with --dry-run')
    work_dir = args.work_dir or default_work_dir(args.study)
    with user_input():
        require_writable_folder(work_dir, '--work-dir')
    with logs_to_stderr():
        study = read_study(args.study, args.data_root, args.cfg_options)
    if args.estimate:
        with logs_to_stderr():
            estimates = list(estimate_study(study, args.step_seconds))
        print_tables(estimate_tables(study, estimates, work_dir, workers, args.step_seconds is None))
        return
    with study_lock(work_dir):
        runs = prepare_folders(study, work_dir)
        _warn_of_another_commit(runs)
        if args.print_commands:
            for run in runs:
                print(shlex.join(run_command(run)))
            return
        console = Console(file=sys.stdout)
        for note in study.notes:
            console.print(note, markup=False, highlight=False, soft_wrap=True)
        try:
            progress = Progress(runs, workers, console)
            if args.slurm is None:
                failed = run_here(runs, workers, progress)
            else:
                failed = run_on_cluster(runs, work_dir, progress, args.slurm)
        except KeyboardInterrupt:
            jobs = ' Jobs that were submitted go on.' if args.slurm is not None else ''
            print(f'study: stopped.{jobs} The same command goes on where they were', file=sys.stderr)
            sys.exit(130)
    if failed:
        sys.exit(
            f'study: {len(failed)} of {len(runs)} runs failed: {"; ".join(map(str, failed))}. The same '
            'command tries them again'
        )


def _warn_of_another_commit(runs: Sequence[Run]) -> None:
    records = [read_record(run.folder) for run in runs]
    warning = other_commit(records, source_commit())
    if warning and any(record['status'] != FINISHED for record in records):
        print(f'study: {warning}', file=sys.stderr)


def _status(args: argparse.Namespace) -> None:
    folder = study_folder(args.study)
    with user_input():
        runs = runs_in(folder)
    print_tables([status_table(folder, runs), Progress(runs).summary([])])
