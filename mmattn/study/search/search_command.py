"""The subcommand ``search`` of ``tools/study.py``."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from typing import Any

from mmattn.engine.mistakes import user_input
from mmattn.study.controller import visible_gpus
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
        "'postgresql://user@host/name' (default: search.journal in the work dir)",
    )
    parser.add_argument(
        '--confirm', action='store_true', help='compare the winner with its controls, with other seeds'
    )
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
    others = [_start_other(gpus[i % len(gpus)] if gpus else None) for i in range(1, workers)]
    if gpus:
        os.environ['CUDA_VISIBLE_DEVICES'] = gpus[0]
    try:
        found = run_search(
            args.search,
            args.work_dir or default_work_dir(args.search),
            args.storage,
            args.data_root,
            args.cfg_options,
            wait=lambda: [other.wait() for other in others],
        )
    finally:
        for other in others:
            other.terminate()
    if found is None:
        sys.exit('search: no trial came to its end')
    if args.confirm:
        command = [sys.executable, sys.argv[0], 'run', str(found), '--work-dir', str(found.with_suffix(''))]
        data = ['--data-root', args.data_root] if args.data_root else []
        sys.exit(subprocess.run([*command, *data, '--workers', str(workers)]).returncode)


def _start_other(gpu: str | None) -> subprocess.Popen:
    """Start a process that works on the same search."""
    environment = dict(os.environ) if gpu is None else dict(os.environ, CUDA_VISIBLE_DEVICES=gpu)
    arguments = [sys.executable, *sys.argv, '--workers', '1']
    return subprocess.Popen([each for each in arguments if each != '--confirm'], env=environment)
