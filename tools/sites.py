#!/usr/bin/env python
"""Show where in a model a block can stand, and what it would cost there."""

import argparse
import json
import sys
from contextlib import redirect_stdout

from mmengine.config import DictAction
from rich.console import Console

from mmattn.cost import group_similar, render_site_rows, site_rows, without_plain_modules
from mmattn.engine.build_model import build_model


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file path, or mmdet::FOLDER/FILE.py')
    parser.add_argument('globs', nargs='*', help="only these, such as 'backbone.**.residual' or neck.output")
    parser.add_argument(
        '--shape',
        type=int,
        nargs='+',
        default=[800, 1344],
        metavar='N',
        help='height and width of the picture (default: %(default)s)',
    )
    parser.add_argument(
        '--blocks',
        nargs='+',
        default=['SE', 'ECA', 'CBAM'],
        help='blocks whose cost is shown (default: %(default)s)',
    )
    parser.add_argument('--all', action='store_true', help='also plain convolutions and other modules')
    parser.add_argument('--each', action='store_true', help='a row for each site')
    parser.add_argument('--json', action='store_true', help='for programs: a list of all sites')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, help='override settings of the config: key=value'
    )
    args = parser.parse_intermixed_args()
    if len(args.shape) > 2 or min(args.shape) < 1:
        parser.error('--shape takes one positive number or two: height and width')
    return args


def main():
    args = parse_args()
    size = (args.shape[0], args.shape[-1])
    with redirect_stdout(sys.stderr):  # what building the model logs is no part of the table
        try:
            model = build_model(args.config, args.cfg_options)
        except Exception as error:  # whatever a config may do wrong
            text = str(error.args[0] if isinstance(error, KeyError) and error.args else error)
            sys.exit(f'sites.py: no model was built from {args.config}: {type(error).__name__}: {text}')
        try:
            rows = site_rows(model, args.globs, size, args.blocks)
        except (ValueError, KeyError) as error:
            sys.exit(f'sites.py: {error.args[0]}')
    if args.json:
        print(json.dumps([row.as_json() for row in rows], indent=1))
        return
    shown = rows if args.all or args.globs else without_plain_modules(rows)
    left_out = len(rows) - len(shown)
    console = Console()
    if not console.is_terminal:
        console.width = 200  # a file or a pipe has no width of its own
    title = f'{args.config} at {size[0]}x{size[1]} (+ block: parameters / million operations)'
    console.print(render_site_rows(shown if args.each else group_similar(shown), title))
    if left_out:
        console.print(f'and {left_out} plain convolutions and other modules: --all', highlight=False)


if __name__ == '__main__':
    main()
