"""The subcommand ``search`` of ``tools/study.py``."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from typing import Any

from mmattn.engine.cli import add_cfg_options, add_data_root_option
from mmattn.engine.mistakes import user_input
from mmattn.study.controller import visible_gpus


def add_search_command(commands: Any) -> None:
    """Add ``search`` to the subcommands of a parser."""
    parser = commands.add_parser(
        'search',
        help='search for the best block, sites and options',
        description='Search by Optuna. Processes and machines that are given the same storage work on one '
        'search; the same command goes on with it.',
    )
    parser.add_argument('search', help='config file of the search')
    parser.add_argument(
        '--work-dir', help='folder of the search (default: work_dirs/ and the name of the config)'
    )
    parser.add_argument(
        '--storage',
        help="journal file, or URL of a database as Optuna takes it: 'sqlite:///search.db', "
        "'postgresql://user@host/name' (default: search.journal in the work dir)",
    )
    parser.add_argument(
        '--workers', type=int, help='trials at a time (default: the number of GPUs, or one without a GPU)'
    )
    parser.add_argument(
        '--confirm', action='store_true', help='compare the winner with its controls, with other seeds'
    )
    add_data_root_option(parser)
    add_cfg_options(parser, 'the config of the search')
    parser.set_defaults(call=_search, parser=parser)


def _search(args: argparse.Namespace) -> None:
    gpus = visible_gpus()
    workers = max(len(gpus), 1) if args.workers is None else args.workers
    if workers < 1:
        args.parser.error('--workers is at least 1')
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
            args.work_dir,
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
