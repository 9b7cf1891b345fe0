"""Write the generated shapes data set.

python tools/make_shapes.py                  # MMATTN_DATA_ROOT, else data/shapes
python tools/make_shapes.py --out /tmp/s --train 100 --val 20 --seed 1
"""

import argparse
import os
import sys

from mmattn.datasets import ShapesSettings, make_shapes


def parse_args():
    # here, so that the processes that draw, which load this file too, need not wait for it
    from mmattn.engine import DATA_ROOT_VARIABLE

    default = ShapesSettings()
    parser = argparse.ArgumentParser(description='Write the generated shapes data set (COCO format)')
    parser.add_argument(
        '--out',
        default=os.environ.get(DATA_ROOT_VARIABLE) or 'data/shapes',
        help=f'folder (default: {DATA_ROOT_VARIABLE}, else data/shapes)',
    )
    parser.add_argument(
        '--train', type=int, default=default.train, help='training pictures (default: %(default)s)'
    )
    parser.add_argument(
        '--val', type=int, default=default.val, help='validation pictures (default: %(default)s)'
    )
    parser.add_argument(
        '--size', type=int, default=default.size, help='width and height of a picture (default: %(default)s)'
    )
    parser.add_argument(
        '--seed',
        type=int,
        default=default.seed,
        help='another seed gives other pictures (default: %(default)s)',
    )
    parser.add_argument('--workers', type=int, help='processes; changes nothing in the result')
    parser.add_argument(
        '--force', action='store_true', help='replace a shapes data set that has other settings or is damaged'
    )
    return parser.parse_args()


def main():
    args = parse_args()
    try:
        settings = ShapesSettings(args.train, args.val, args.size, args.seed)
        written = make_shapes(args.out, settings, args.force, args.workers)
    except (FileExistsError, ValueError) as error:
        sys.exit(f'make_shapes: {error}')
    print(f'shapes: {args.out} {"written" if written else "is already there with these settings"}')


if __name__ == '__main__':
    main()
