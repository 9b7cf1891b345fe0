"""Options that the subcommands of ``tools/study.py`` share."""

from __future__ import annotations

import argparse
import os

from mmattn.engine.cli import add_cfg_options, add_data_root_option
from mmattn.study.controller import visible_gpus


def add_training_options(parser: argparse.ArgumentParser, what: str, unit: str) -> None:
    """Add the config file as an argument, and the options of subcommands that train.

    Args:
        parser: That of the subcommand.
        what: What the config is of, which is the argument's name: ``'study'`` or ``'search'``.
        unit: What it trains: ``'runs'`` or ``'trials'``.
    """
    parser.add_argument(what, help=f'config file of the {what}')
    parser.add_argument(
        '--work-dir', help=f'folder of the {what} (default: work_dirs/ and the name of the config)'
    )
    parser.add_argument(
        '--workers', type=int, help=f'{unit} at a time (default: the number of GPUs, or one without a GPU)'
    )
    add_data_root_option(parser)
    add_cfg_options(parser, f'the config of the {what}')


def workers_of(args: argparse.Namespace) -> int:
    """Return the number of processes that train, or end with an error of the parser."""
    if args.workers is None:
        return max(len(visible_gpus()), 1)
    return require_workers(args)


def require_workers(args: argparse.Namespace) -> int:
    """Return ``--workers``, or end with an error of the parser."""
    if args.workers < 1:
        args.parser.error('--workers is at least 1')
    return args.workers


def default_work_dir(config: str) -> str:
    """Return the folder of the study or search in a config file."""
    return os.path.join('work_dirs', os.path.splitext(os.path.basename(config))[0])


def study_folder(study: str) -> str:
    """Return the folder of a study that is given by its folder or by its config file."""
    return default_work_dir(study) if study.endswith('.py') else study


def add_evaluation_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of subcommands that evaluate and compare."""
    parser.add_argument(
        '--relevant',
        type=float,
        default=1,
        metavar='POINTS',
        help='the smallest difference that matters to you (default: %(default)s)',
    )
    parser.add_argument('--workers', type=int, default=_processors(), help='processes (default: %(default)s)')


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
