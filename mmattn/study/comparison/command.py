"""The subcommand ``compare`` of ``tools/study.py``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from mmattn.engine.cli import print_tables
from mmattn.engine.mistakes import user_input
from mmattn.engine.output_path import require_writable_folder
from mmattn.study.comparison.answer import Answer, compare_results
from mmattn.study.comparison.inputs import default_iou_types, parse_variants
from mmattn.study.comparison.report import write_answer
from mmattn.study.comparison.tables import answer_tables
from mmattn.study.evaluation import (
    AUTO,
    CATEGORY_READINGS,
    IOU_TYPES,
    EvaluationSettings,
    engine_class,
    slow_engine_note,
)
from mmattn.study.options import add_evaluation_options, require_workers


def add_compare_command(commands: Any) -> None:
    """Add ``compare`` to the subcommands of a parser."""
    parser = commands.add_parser(
        'compare',
        help="compare anybody's results files, with intervals",
        description="Compare two or more detectors by their results in COCO's JSON format, from MMDetection, "
        'Ultralytics or elsewhere, all of the same images. The first is the control, with which the others '
        'are compared.',
    )
    parser.add_argument(
        'variants',
        nargs='+',
        metavar='[NAME=]FILE[,FILE...]',
        help='results of a variant; several files, with commas or *, are those of several seeds: the first '
        'files of all variants belong together, the second ones, and so on',
    )
    parser.add_argument('--ann', required=True, metavar='FILE', help='annotation file in COCO format')
    parser.add_argument(
        '--metric',
        nargs='+',
        choices=IOU_TYPES,
        help='boxes, masks or both (default: bbox; segm for files *.segm.json)',
    )
    parser.add_argument('--control', metavar='NAME', help='compare with this variant (default: the first)')
    parser.add_argument('--out', metavar='FOLDER', help='write report.md, report.csv and report.json there')
    parser.add_argument(
        '--main', action='store_true', help='AP, AP50 and AP75 alone, which takes a fraction of the time'
    )
    parser.add_argument(
        '--level', type=float, default=95, help='level of the intervals, in percent (default: %(default)s)'
    )
    parser.add_argument(
        '--categories',
        choices=(AUTO, *CATEGORY_READINGS),
        default=AUTO,
        help="what category_id is: the annotation file's ids, or a count of its categories from 0 or 1 "
        '(default: ids where they fit)',
    )
    parser.add_argument(
        '--cache',
        metavar='FOLDER',
        help='keep evaluations there (default: evaluations in the folder of --out)',
    )
    add_evaluation_options(parser)
    parser.set_defaults(call=_compare, parser=parser)


def _compare(args: argparse.Namespace) -> None:
    if not 0 < args.level < 100 or not 0 < args.relevant < 100:
        args.parser.error('--level is above 0 and below 100, as is --relevant')
    require_workers(args)
    with user_input(errors=(ValueError, OSError)):
        for option in ('out', 'cache'):
            if getattr(args, option):
                require_writable_folder(getattr(args, option), f'--{option}')
        answer = _answer(args)
    tables = [table for table in answer_tables(answer) if 'class' not in table.columns]
    print_tables([*answer.notes, *(table.for_screen() for table in tables)])
    if args.out:
        for path in write_answer(answer, args.out):
            print(path)


def _answer(args: argparse.Namespace) -> Answer:
    iou_types = tuple(dict.fromkeys(args.metric or default_iou_types(args.variants)))
    runs = parse_variants(args.variants, iou_types)
    note = slow_engine_note(engine_class().name)
    if note:
        print(note, file=sys.stderr)
    cache = args.cache or (os.path.join(args.out, 'evaluations') if args.out else None)
    settings = EvaluationSettings(
        args.ann,
        parts=('main',) if args.main else EvaluationSettings.parts,
        categories=args.categories,
        cache=cache,
    )
    with progress_bars('evaluated') as (progress,):
        return compare_results(
            runs,
            settings,
            iou_types,
            control=args.control,
            level=args.level / 100,
            relevant=args.relevant / 100,
            workers=args.workers,
            progress=progress,
        )


@contextmanager
def progress_bars(*texts: str) -> Iterator[list[Callable[[int, int], None]]]:
    """Show on a terminal how much of each of some things is done; yield a function for each to say so."""
    columns = (TextColumn('{task.description}'), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        tasks = [bar.add_task(text, total=None) for text in texts]
        yield [lambda done, of, task=task: bar.update(task, completed=done, total=of) for task in tasks]
