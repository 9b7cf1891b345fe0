#!/usr/bin/env python
"""Show where in a model a block can be inserted, and what it would cost there."""

import json

from mmattn.cost import group_similar, render_site_rows, site_rows, without_plain_modules
from mmattn.engine.cli import (
    Parser,
    add_cfg_options,
    add_data_root_option,
    add_shape_option,
    logs_to_stderr,
    print_tables,
    run_tool,
)
from mmattn.engine.config_model import build_model
from mmattn.engine.mistakes import user_input


def parse_args():
    parser = Parser(description=__doc__)
    parser.add_argument('config', help='config file path, or mmdet::FOLDER/FILE.py')
    parser.add_argument(
        'globs', nargs='*', default=[], help="only these, such as 'backbone.**.residual' or neck.output"
    )
    add_shape_option(parser)
    add_data_root_option(parser)
    parser.add_argument(
        '--blocks',
        nargs='+',
        default=['SE', 'ECA', 'CBAM'],
        help='blocks whose cost is shown (default: %(default)s)',
    )
    parser.add_argument('--all', action='store_true', help='also plain convolutions and other modules')
    parser.add_argument('--each', action='store_true', help='a row for each site')
    parser.add_argument('--json', action='store_true', help='for programs: a list of all sites')
    add_cfg_options(parser)
    return parser.parse_intermixed_args()


def main():
    args = parse_args()
    with logs_to_stderr(), user_input(errors=(ValueError, KeyError)):
        model = build_model(args.config, args.cfg_options, args.data_root)
        rows = site_rows(model, args.globs, args.shape, args.blocks)
    if args.json:
        print(json.dumps([row.as_json() for row in rows], indent=1))
        return
    shown = rows if args.all or args.globs else without_plain_modules(rows)
    height, width = args.shape
    title = f'{args.config} at {height}x{width} (+ block: parameters / million operations)'
    print_tables([render_site_rows(shown if args.each else group_similar(shown), title)])
    if len(shown) < len(rows):
        print(f'and {len(rows) - len(shown)} plain convolutions and other modules: --all')


if __name__ == '__main__':
    run_tool(main)
