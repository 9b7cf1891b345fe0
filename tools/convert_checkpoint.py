#!/usr/bin/env python
"""Convert a public checkpoint of a ResNet with attention (timm, pytorchcv, ...) for MMDetection, or back."""

import os

from mmattn.checkpoints.convert import FORMS, LIBRARIES, convert_file, convert_file_to_timm
from mmattn.engine.cli import Parser, logs_to_stderr, run_tool
from mmattn.engine.mistakes import user_input


def parse_args():
    parser = Parser(description=__doc__)
    parser.add_argument('source', metavar='SRC', help='checkpoint, *.safetensors, *.pth, *.bin')
    parser.add_argument('out', metavar='OUT', help='checkpoint to write, *.pth')
    parser.add_argument(
        '--from',
        dest='library',
        choices=('auto', *LIBRARIES),
        default='auto',
        help='where SRC comes from (default: told by the names of its weights)',
    )
    parser.add_argument(
        '--model',
        metavar='NAME',
        help="name of the source model; else SRC's name, else told by the weights where they can tell",
    )
    parser.add_argument(
        '--blocks',
        choices=FORMS,
        default='attention',
        help="where the attention goes: the model's attention, or plugins= of the backbone",
    )
    parser.add_argument(
        '--verify',
        action='store_true',
        help='build the source model too, where its library is installed, and compare the four stages',
    )
    parser.add_argument('--to', choices=('mmdet', 'timm'), default='mmdet', help='timm: the way back')
    parser.add_argument(
        '--start',
        choices=('paper', 'identity'),
        help='with --to timm: the start of blocks by plugins=, which a checkpoint does not tell',
    )
    parser.add_argument('--overwrite', action='store_true', help='replace OUT if it exists')
    args = parser.parse_args()
    if args.start and args.to != 'timm':
        parser.error('--start goes with --to timm')
    if args.verify and args.to == 'timm':
        parser.error('--verify compares with the model that a public checkpoint comes from: leave --to out')
    return args


def to_mmdet(args):
    with logs_to_stderr():
        converted = convert_file(
            args.source,
            args.out,
            args.library,
            args.model,
            args.blocks,
            args.overwrite,
            args.verify,
        )
    print(converted.text)


def to_timm(args):
    with logs_to_stderr():
        converted = convert_file_to_timm(args.source, args.out, args.start, args.overwrite)
    print(converted)


def main():
    args = parse_args()
    with user_input(errors=(OSError, ValueError)):
        dict(mmdet=to_mmdet, timm=to_timm)[args.to](args)
    print(f'\n{args.out}: {os.path.getsize(args.out):,} bytes')


if __name__ == '__main__':
    run_tool(main)
