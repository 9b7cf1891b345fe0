"""The subcommands ``run`` and ``status`` of ``tools/study.py``."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from typing import Any

from rich.console import Console

from mmattn.engine.cli import add_cfg_options, add_data_root_option, logs_to_stderr, print_tables
from mmattn.engine.mistakes import user_input
from mmattn.engine.output_path import require_writable_folder
from mmattn.study.config import read_study
from mmattn.study.controller import run_command, run_here, study_lock, visible_gpus
from mmattn.study.plan import prepare_folders, runs_in
from mmattn.study.progress import Progress, status_table


def add_run_command(commands: Any) -> None:
    """Add ``run`` to the subcommands of a parser."""
    parser = commands.add_parser(
        'run',
        help='train what a study still lacks',
        description='Train all variants of a study with all seeds. Finished runs are left alone, others go '
        'on where they were. Exit code 1 if a run failed.',
    )
    parser.add_argument('study', help='config file of the study')
    parser.add_argument(
        '--work-dir', help='folder of the study (default: work_dirs/ and the name of the config)'
    )
    parser.add_argument(
        '--workers', type=int, help='runs at a time (default: the number of GPUs, or one without a GPU)'
    )
    parser.add_argument(
        '--print-commands',
        action='store_true',
        help='train nothing; print a command for each run that is not finished, for any queue',
    )
    add_data_root_option(parser)
    add_cfg_options(parser, "the study's config")
    parser.set_defaults(call=_run, parser=parser)


def add_status_command(commands: Any) -> None:
    """Add ``status`` to the subcommands of a parser."""
    parser = commands.add_parser('status', help='how far a study is', description='Show how far a study is.')
    parser.add_argument('study', help='folder of the study, or its config file')
    parser.set_defaults(call=_status)


def _work_dir(study: str) -> str:
    return os.path.join('work_dirs', os.path.splitext(os.path.basename(study))[0])


def _run(args: argparse.Namespace) -> None:
    workers = max(len(visible_gpus()), 1) if args.workers is None else args.workers
    if workers < 1:
        args.parser.error('--workers is at least 1')
    work_dir = args.work_dir or _work_dir(args.study)
    with user_input():
        require_writable_folder(work_dir, '--work-dir')
    with logs_to_stderr():
        study = read_study(args.study, args.data_root, args.cfg_options)
    with study_lock(work_dir):
        runs = prepare_folders(study, work_dir)
        if args.print_commands:
            for run in runs:
                print(shlex.join(run_command(run)))
            return
        console = Console(file=sys.stdout)
        for note in study.notes:
            console.print(note, markup=False, highlight=False, soft_wrap=True)
        try:
            failed = run_here(runs, workers, Progress(runs, workers, console))
        except KeyboardInterrupt:
            print('study: stopped. The same command goes on from the last checkpoints', file=sys.stderr)
            sys.exit(130)
    if failed:
        sys.exit(
            f'study: {len(failed)} of {len(runs)} runs failed: {"; ".join(map(str, failed))}. The same '
            'command tries them again'
        )


def _status(args: argparse.Namespace) -> None:
    folder = _work_dir(args.study) if args.study.endswith('.py') else args.study
    with user_input():
        runs = runs_in(folder)
    print_tables([status_table(folder, runs), Progress(runs).summary([])])
