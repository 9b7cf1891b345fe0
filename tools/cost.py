#!/usr/bin/env python
"""Say what detectors cost, and their attention: parameters, arithmetic, memory, and with --time, time."""

import sys
from functools import partial
from pathlib import Path

from mmattn.cost import DTYPES, not_counted, plot_attention_cost, reports_to_csv, reports_to_json
from mmattn.cost.compare import TimingOptions, compare_configs, comparison_tables
from mmattn.engine.cli import (
    Parser,
    add_cfg_options,
    add_data_root_option,
    add_device_option,
    add_shape_option,
    logs_to_stderr,
    print_tables,
    run_tool,
)
from mmattn.engine.mistakes import user_input
from mmattn.engine.output_path import require_writable_file
from mmattn.files import write_file


def parse_args():
    parser = Parser(description=__doc__)
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
    add_shape_option(parser)
    add_data_root_option(parser)
    parser.add_argument('--sites', action='store_true', help='also each site of each config')
    parser.add_argument(
        '--time',
        action='store_true',
        help='also measure inference and training steps, on random images, interleaved',
    )
    parser.add_argument('--repeats', type=int, default=10, help='timed runs of each (default: %(default)s)')
    parser.add_argument('--warmup', type=int, default=3, help='runs before (default: %(default)s)')
    parser.add_argument('--batch', type=int, default=1, help='images in a run (default: %(default)s)')
    parser.add_argument(
        '--dtype',
        choices=sorted(DTYPES),
        default='fp32',
        help='bf16 and fp16 with autocast (default: %(default)s)',
    )
    add_device_option(parser, 'measure')
    parser.add_argument('--json', action='store_true', help='for programs: all, with sites and stages')
    parser.add_argument('--csv', action='store_true', help='a line for each config')
    parser.add_argument('--plot', metavar='FILE', help='draw what attention costs in each stage')
    add_cfg_options(parser, 'all configs')
    args = parser.parse_args()
    if args.repeats < 2 or args.warmup < 0 or args.batch < 1:
        parser.error('--repeats is at least 2, --warmup at least 0, --batch at least 1')
    if len(set(args.configs)) < len(args.configs):
        parser.error('a config is given twice')
    return args


def main():
    args = parse_args()
    if args.plot:
        with user_input():
            require_writable_file(args.plot, '--plot')
    timing = None
    if args.time:
        timing = TimingOptions(args.batch, args.dtype, args.repeats, args.warmup, args.device)
    with logs_to_stderr():
        reports = compare_configs(
            args.configs, args.shape, args.baseline == 'plain', args.cfg_options, timing, args.data_root
        )
    if args.plot:
        with user_input('no plot', (ValueError, OSError)):
            figure, format = plot_attention_cost(reports), Path(args.plot).suffix[1:] or 'png'
            write_file(args.plot, partial(figure.savefig, format=format, dpi=150))
    print(*not_counted(reports), sep='\n', end='\n' * bool(not_counted(reports)), file=sys.stderr)
    if args.json:
        print(reports_to_json(reports))
    elif args.csv:
        print(reports_to_csv(reports), end='')
    else:
        print_tables(comparison_tables(reports, args.sites, timing))


if __name__ == '__main__':
    run_tool(main)
