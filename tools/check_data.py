#!/usr/bin/env python
"""Check the data of a config as training does, and show it: tables, and a sheet of images with boxes."""

from mmattn.engine.cli import (
    Parser,
    add_cfg_options,
    add_data_root_option,
    logs_to_stderr,
    print_tables,
    run_tool,
)
from mmattn.engine.data import DataRefused
from mmattn.engine.mistakes import user_input
from mmattn.visualization.show_data import show_data


def parse_args():
    parser = Parser(description=__doc__)
    parser.add_argument('config', help='config file path, or mmdet::FOLDER/FILE.py')
    add_data_root_option(parser)
    parser.add_argument(
        '--out',
        metavar='FILE',
        help='the sheet, .jpg or .png (default: work_dirs/CONFIG/data/contact_sheet.jpg)',
    )
    parser.add_argument(
        '--limit', type=int, default=12, help='draw at most N images of each data set (default: %(default)s)'
    )
    add_cfg_options(parser)
    args = parser.parse_args()
    if args.limit < 1:
        parser.error('--limit is at least 1')
    return args


def main():
    args = parse_args()
    with logs_to_stderr():
        items, refused = show_data(**vars(args))
    print_tables(items)
    if refused:
        with user_input():
            raise DataRefused(refused)


if __name__ == '__main__':
    run_tool(main)
