"""The subcommand ``report`` of ``tools/study.py``."""

from __future__ import annotations

import argparse
from typing import Any

from mmattn.cost.compare import TimingOptions
from mmattn.engine.cli import add_device_option, logs_to_stderr, print_tables
from mmattn.engine.mistakes import user_input
from mmattn.study.comparison import answer_tables
from mmattn.study.comparison.command import progress_bars
from mmattn.study.options import add_evaluation_options, require_workers, study_folder
from mmattn.study.report.output import remarks, verdicts, write_report
from mmattn.study.report.study_report import make_report


def add_report_command(commands: Any) -> None:
    """Add ``report`` to the subcommands of a parser."""
    parser = commands.add_parser(
        'report',
        help='what the runs of a study say',
        description='Compare the finished runs of a study, and write report.md, report.html, report.csv and '
        'report.json into its folder.',
    )
    parser.add_argument('study', help='folder of the study, or its config file')
    parser.add_argument(
        '--time',
        action='store_true',
        help='measure training steps and inference of all variants side by side',
    )
    add_device_option(parser, 'measure, and run detectors whose gates are shown')
    parser.add_argument(
        '--images',
        type=int,
        default=3,
        metavar='N',
        help='for each variant, draw the N images on which it gains most and the N on which it loses most '
        '(default: %(default)s)',
    )
    add_evaluation_options(parser)
    parser.set_defaults(call=_report, parser=parser)


def _report(args: argparse.Namespace) -> None:
    if not 0 < args.relevant < 100:
        args.parser.error('--relevant is above 0 and below 100')
    if args.images < 0:
        args.parser.error('--images is at least 0')
    require_workers(args)
    timing = TimingOptions(device=args.device) if args.time else None
    with (
        user_input(errors=(ValueError, OSError)),
        logs_to_stderr(),
        progress_bars('evaluated', 'images drawn') as (evaluated, drawn),
    ):
        report = make_report(
            study_folder(args.study),
            args.relevant / 100,
            timing=timing,
            workers=args.workers,
            progress=evaluated,
            images=args.images,
            device=args.device,
            drawn=drawn,
        )
        paths = write_report(report)
    first = answer_tables(report.answer)[:2]
    print_tables([*remarks(report), *report.answer.notes, *(table.for_screen() for table in first)])
    for line in verdicts(report):
        print(line.replace('**', ''))
    for path in paths:
        print(path)
