"""The subcommand ``search`` of ``tools/study.py``."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from mmattn.engine.mistakes import user_input
from mmattn.study.controller import end_processes, threads_each, visible_gpus
from mmattn.study.options import add_training_options, default_work_dir, workers_of


def add_search_command(commands: Any) -> None:
    """Add ``search`` to the subcommands of a parser."""
    parser = commands.add_parser(
        'search',
        help='search for the best block, sites and options',
        description='Search by Optuna. Processes and machines that are given the same storage work on one '
        'search; the same command goes on with it.',
    )
    add_training_options(parser, 'search', 'trials')
    parser.add_argument(
        '--storage',
        help="journal file, or URL of a database as Optuna takes it: 'sqlite:///search.db', "
        "'postgresql+psycopg://user@host/name' (default: search.journal in the work dir)",
    )
    parser.add_argument(
        '--confirm', action='store_true', help='compare the winner with its controls, with other seeds'
    )
    parser.add_argument('--joined', action='store_true', help=argparse.SUPPRESS)  # a process of --workers
    parser.set_defaults(call=_search, parser=parser)


def _search(args: argparse.Namespace) -> None:
    gpus, workers = visible_gpus(), workers_of(args)
    with user_input(errors=(ImportError,)):
        try:
            from mmattn.study.search.loop import run_search
        except ModuleNotFoundError as error:
            if error.name != 'optuna':
                raise
            raise ImportError(
                "search needs Optuna: pip install 'mmattn[study]', or pip install optuna"
            ) from error
    found = run_search(
        args.search,
        args.work_dir or default_work_dir(args.search),
        args.storage,
        args.data_root,
        args.cfg_options,
        beside=None if args.joined else _others(workers, gpus),
        joined=args.joined,
    )
    if args.joined:
        return
    if found is None:
        sys.exit('search: no trial came to its end')
    if args.confirm:
        command = [sys.executable, sys.argv[0], 'run', str(found), '--work-dir', str(found.with_suffix(''))]
        data = ['--data-root', args.data_root] if args.data_root else []
        sys.exit(subprocess.run([*command, *data, '--workers', str(workers)]).returncode)


@contextmanager
def _others(workers: int, gpus: Sequence[str]) -> Iterator[None]:
    """Let other processes work on the same search meanwhile, one GPU each; at the end, wait for them."""
    os.environ.setdefault('OMP_NUM_THREADS', str(threads_each(workers)))
    arguments = [sys.executable, *sys.argv, '--joined', '--workers', '1']
    others = []
    for i in range(1, workers):
        gpu = dict(CUDA_VISIBLE_DEVICES=gpus[i % len(gpus)]) if gpus else {}
        others.append(subprocess.Popen(arguments, env=dict(os.environ, **gpu)))
    if gpus:
        os.environ['CUDA_VISIBLE_DEVICES'] = gpus[0]
    try:
        yield
        for other in others:
            other.wait()
    finally:
        end_processes(others)
