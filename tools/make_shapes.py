#!/usr/bin/env python
"""Write the generated shapes data set, in COCO format.

python tools/make_shapes.py                  # MMATTN_DATA_ROOT, else data/shapes
python tools/make_shapes.py --out /tmp/s --train 100 --val 20 --seed 1
"""

import argparse
import os

from mmattn.datasets import ShapesSettings, make_shapes

# The processes that draw load this file too. What they do not need is imported where it is used.


def parse_args():
    from mmattn.engine import DATA_ROOT_VARIABLE
    from mmattn.engine.cli import Parser

    default = ShapesSettings()
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        '--out',
        default=os.environ.get(DATA_ROOT_VARIABLE) or 'data/shapes',
        help=f'folder (default: {DATA_ROOT_VARIABLE}, else data/shapes)',
    )
    parser.add_argument(
        '--train', type=int, default=default.train, help='training images (default: %(default)s)'
    )
    parser.add_argument(
        '--val', type=int, default=default.val, help='validation images (default: %(default)s)'
    )
    parser.add_argument(
        '--size', type=int, default=default.size, help='width and height of an image (default: %(default)s)'
    )
    parser.add_argument(
        '--seed',
        type=int,
        default=default.seed,
        help='another seed gives other images (default: %(default)s)',
    )
    parser.add_argument('--workers', type=int, help='processes; changes nothing in the result')
    parser.add_argument(
        '--force', action='store_true', help='replace a shapes data set that has other settings or is damaged'
    )
    return parser.parse_args()


def main():
    from mmattn.engine.mistakes import user_input
    from mmattn.engine.output_path import require_writable_folder

    args = parse_args()
    with user_input(errors=(OSError, ValueError)):
        if not os.path.exists(args.out):
            require_writable_folder(args.out, '--out')
        settings = ShapesSettings(args.train, args.val, args.size, args.seed)
        written = make_shapes(args.out, settings, args.force, args.workers)
    print(f'shapes: {args.out} {"written" if written else "is already there with these settings"}')


if __name__ == '__main__':
    from mmattn.engine.cli import run_tool

    run_tool(main)
