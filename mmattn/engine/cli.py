"""Shared by the tools: options, tables, and how a tool ends when its user made a mistake."""

from __future__ import annotations

import argparse
import inspect
import os
import re
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, NoReturn

import torch
from rich.console import Console

from mmattn.checkpoints.trust import TRUST_OPTION
from mmattn.engine.data_root import DATA_ROOT_VARIABLE
from mmattn.engine.distributed import LAUNCHERS, end_process, launched_rank
from mmattn.engine.mistakes import mistake_text
from mmattn.engine.option_values import read_value
from mmattn.files import DiskFull, is_disk_full

MISTAKE = 2
"""Exit code of a tool whose user made a mistake, as argparse has it."""
DEBUG_VARIABLE = 'MMATTN_DEBUG'


def run_tool(main: Callable[[], Any]) -> None:
    """Run a tool's ``main``; end with the message alone and exit code 2 if its user made a mistake.

    An error is a mistake if it was raised in a :func:`~mmattn.engine.mistakes.user_input` block. All other
    errors pass through, except that of a full disk, which the user has to mend too. With ``MMATTN_DEBUG=1``
    the traceback is printed as well.

    In a distributed run the message appears once: see :func:`wait_for_rank_0`.
    """
    if os.getcwd() not in sys.path:  # as with `python -m`, for custom_imports; last, so that it hides nothing
        sys.path.append(os.getcwd())
    try:
        main()
    except Exception as error:
        text = mistake_text(error)
        if text is None and is_disk_full(error):
            text = str(error) if isinstance(error, DiskFull) else f'the disk is full: {error}'
        if text is None:
            raise
        wait_for_rank_0()
        if os.environ.get(DEBUG_VARIABLE, '0') not in ('', '0'):
            traceback.print_exception(error)
        print(f'{Path(inspect.unwrap(main).__code__.co_filename).name}: {text}', file=sys.stderr)
        sys.exit(MISTAKE)
    end_process()


def wait_for_rank_0() -> None:
    """Give rank 0 the time to report a mistake that all ranks find; no wait in rank 0 itself.

    As soon as one process fails, the launcher ends the others. So a rank that waits is silent if rank 0
    finds the same mistake, and reports what it alone finds, such as a missing file on its machine.
    """
    rank = launched_rank()
    if rank:
        time.sleep(10 + min(rank, 100) / 2)


class Parser(argparse.ArgumentParser):
    """An ``ArgumentParser`` whose error message appears once in a distributed run."""

    def error(self, message: str) -> NoReturn:
        wait_for_rank_0()
        super().error(message)


def add_shape_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--shape``: height and width, as ``320 480`` or ``320x480``, or one number for both."""
    parser.add_argument(
        '--shape',
        nargs='+',
        action=_Shape,
        default=(800, 1344),
        metavar='N',
        help='height and width of the image: 320 480, 320x480, or 320 for both (default: 800 1344)',
    )


class _Shape(argparse.Action):
    def __call__(self, parser, namespace, values, option_string=None):
        sizes = re.split(r'[x,\s]+', ' '.join(values).lower().strip('()[] '))
        if len(sizes) > 2 or not all(size.isdecimal() and int(size) for size in sizes):
            parser.error(
                f'--shape takes height and width, as 320 480 or 320x480, or one number for both; got '
                f"'{' '.join(values)}'"
            )
        setattr(namespace, self.dest, (int(sizes[0]), int(sizes[-1])))


def add_cfg_options(parser: argparse.ArgumentParser, of: str = 'the config') -> None:
    """Add ``--cfg-options``, as MMDetection's tools have it."""
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=KeyValueOptions,
        metavar='KEY=VALUE',
        help=f'override settings of {of}: key=value, key="[a,b]", key="[(a,b),(c,d)]", key.0.key=value in a '
        'list, key="[dict(type=\'EMAHook\')]"',
    )


class KeyValueOptions(argparse.Action):
    """Settings as ``KEY=VALUE``, with an error that names what is none."""

    def __call__(self, parser, namespace, values, option_string=None):
        options = dict(getattr(namespace, self.dest, None) or {})
        for given in values:
            key, equals, text = given.partition('=')
            if not equals:
                parser.error(f"{option_string} takes key=value, and '{given}' has no =")
            if not all(key.split('.')):
                parser.error(
                    f"{option_string} takes key=value, and a part of the key is missing in '{given}'"
                )
            try:
                options[key] = read_value(text)
            except ValueError as error:
                parser.error(f'{option_string} {given}: {error}')
        setattr(namespace, self.dest, options)


def add_data_root_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--data-root``."""
    parser.add_argument(
        '--data-root', help=f"folder of the data set (else {DATA_ROOT_VARIABLE}, else the config's)"
    )


def add_trust_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--trust-checkpoint``."""
    parser.add_argument(
        TRUST_OPTION,
        action='store_true',
        help='load checkpoints that run code; without it they are refused',
    )


def add_device_option(parser: argparse.ArgumentParser, purpose: str) -> None:
    """Add ``--device``: a GPU if there is one, else the CPU."""
    parser.add_argument(
        '--device',
        type=_device,
        default='cuda' if torch.cuda.is_available() else 'cpu',
        help=f'where to {purpose} (default: %(default)s)',
    )


def _device(text: str) -> str:
    try:
        torch.empty(0, device=text)
    except (RuntimeError, AssertionError) as error:
        raise argparse.ArgumentTypeError(
            f"'{text}' cannot be used: {str(error).partition(chr(10))[0]}"
        ) from error
    return text


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that training and testing share: data, trust, config options, launcher, rank."""
    add_data_root_option(parser)
    add_trust_option(parser)
    parser.add_argument(
        '--drop-bad-images',
        action='store_true',
        help='instead of stopping, leave out images that are missing, cannot be decoded or have another size '
        'than the annotation file says, and list them in the work dir; decodes all of them first',
    )
    add_cfg_options(parser)
    parser.add_argument('--launcher', choices=LAUNCHERS, default='none', help='job launcher')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)


def parse_run(parser: argparse.ArgumentParser) -> dict[str, Any]:
    """Parse the command line into arguments for ``train`` or ``test``.

    The local rank, which old launchers hand over as an option, goes into the environment.
    """
    args = vars(parser.parse_args())
    os.environ.setdefault('LOCAL_RANK', str(args.pop('local_rank')))
    return args


@contextmanager
def logs_to_stderr() -> Iterator[None]:
    """Keep logs out of a tool's output: they go to stderr, and are brief."""
    from mmattn.insertion import brief_log  # late: it imports mmdet, which tools without a model do not need

    with redirect_stdout(sys.stderr), brief_log():
        yield


def print_tables(items: Iterable[Any]) -> None:
    """Print lines of text and tables; in a file or a pipe, tables have at most 200 columns."""
    console = Console()
    if not console.is_terminal:
        console.width = 200
    for item in items:
        print(item) if isinstance(item, str) else console.print(item)
