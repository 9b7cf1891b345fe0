#!/usr/bin/env python
"""Say what detectors cost, and their attention: parameters, arithmetic, memory, and with --time, time."""

import argparse
import os
import sys
from contextlib import redirect_stdout
from copy import deepcopy

import torch
from mmengine.config import DictAction
from rich.console import Console

from mmattn import detach
from mmattn.cost import (
    DTYPES,
    cost_report,
    measure_time,
    not_counted,
    plot_attention_cost,
    render_reports,
    render_sites,
    reports_to_csv,
    reports_to_json,
)
from mmattn.engine.build_model import build_model


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'configs',
        nargs='+',
        metavar='config',
        help='config file paths, or mmdet::FOLDER/FILE.py; ratios are to the first',
    )
    parser.add_argument(
        '--baseline',
        choices=['first', 'plain'],
        default='first',
        help="what ratios are to: the first config, or 'plain', the first config without "
        'its attention (default: %(default)s)',
    )
    parser.add_argument(
        '--shape',
        type=int,
        nargs='+',
        default=[800, 1344],
        metavar='N',
        help='height and width of the picture (default: %(default)s)',
    )
    parser.add_argument('--sites', action='store_true', help='also each site of each config')
    parser.add_argument(
        '--time',
        action='store_true',
        help='also measure inference and training steps, on random pictures, in turn',
    )
    parser.add_argument('--repeats', type=int, default=10, help='timed runs of each (default: %(default)s)')
    parser.add_argument('--warmup', type=int, default=3, help='runs before (default: %(default)s)')
    parser.add_argument('--batch', type=int, default=1, help='pictures in a run (default: %(default)s)')
    parser.add_argument(
        '--dtype',
        choices=sorted(DTYPES),
        default='fp32',
        help='bf16 and fp16 with autocast (default: %(default)s)',
    )
    parser.add_argument(
        '--device',
        default='cuda' if torch.cuda.is_available() else 'cpu',
        help='where to measure (default: %(default)s)',
    )
    parser.add_argument('--json', action='store_true', help='for programs: all, with sites and stages')
    parser.add_argument('--csv', action='store_true', help='a line for each config')
    parser.add_argument('--plot', metavar='FILE', help='draw what attention costs in each stage')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, help='override settings of all configs: key=value'
    )
    args = parser.parse_args()
    if len(args.shape) > 2 or min(args.shape) < 1:
        parser.error('--shape takes one positive number or two: height and width')
    if args.repeats < 2 or args.warmup < 0 or args.batch < 1:
        parser.error('--repeats is at least 2, --warmup at least 0, --batch at least 1')
    if len(set(args.configs)) < len(args.configs):
        parser.error('a config is given twice')
    return args


def build_models(args):
    models = {}
    for config in args.configs:
        try:
            models[config] = build_model(config, args.cfg_options)
            if args.time:
                models[config].init_weights()
        except Exception as error:  # whatever a config may do wrong
            text = str(error.args[0] if isinstance(error, KeyError) and error.args else error)
            sys.exit(f'cost.py: no model was built from {config}: {type(error).__name__}: {text}')
    if args.baseline == 'plain':
        first = args.configs[0]
        try:
            plain = detach(deepcopy(models[first]))
        except ValueError as error:
            sys.exit(
                f'cost.py: --baseline plain takes inserted attention out of {first}, and {error}; give '
                'the config without attention as the first one instead'
            )
        models = {'without attention': plain, **models}
    return models


def main():
    args = parse_args()
    size = (args.shape[0], args.shape[-1])
    with redirect_stdout(sys.stderr):  # what building the models logs is no part of the table
        models = build_models(args)
        reports = {name: cost_report(model, size) for name, model in models.items()}
        if args.time:
            measure_time(
                models, reports, size, args.batch, args.dtype, args.repeats, args.warmup, args.device
            )
    if args.plot:
        try:
            plot_attention_cost(reports).savefig(args.plot, dpi=150)
        except (ValueError, OSError) as error:
            sys.exit(f'cost.py: no plot: {error}')
    for remark in not_counted(reports):
        print(remark, file=sys.stderr)
    if args.json:
        print(reports_to_json(reports))
        return
    if args.csv:
        print(reports_to_csv(reports), end='')
        return
    console = Console()
    if not console.is_terminal:
        console.width = 200  # a file or a pipe has no width of its own
    console.print(render_reports(reports))
    if args.sites:
        for name, report in reports.items():
            if report.sites:
                console.print(render_sites(report, name))
    if args.time:
        console.print(
            f'{args.device}, {args.dtype}, batch {args.batch}, {torch.get_num_threads()} threads '
            f'of {os.cpu_count()} cores, torch {torch.__version__}, {args.repeats} runs each after '
            f'{args.warmup}, in turn',
            highlight=False,
        )


if __name__ == '__main__':
    main()
