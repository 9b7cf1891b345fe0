#!/usr/bin/env python
"""Adapters: attention's weights alone, for the detector that they were trained on."""

import os

from mmattn.checkpoints import (
    adapter_of_checkpoint,
    check_base,
    merge_adapter,
    read_adapter,
    read_checkpoint,
    write_adapter,
)
from mmattn.checkpoints.adapter_table import adapter_table
from mmattn.engine.cli import Parser, add_trust_option, print_tables, run_tool
from mmattn.engine.mistakes import user_input


def parse_args():
    parser = Parser(description=__doc__)
    commands = parser.add_subparsers(dest='command', required=True)

    save = commands.add_parser('save', help='take the attention out of a checkpoint')
    save.add_argument('checkpoint', help='checkpoint of a detector with attention')
    save.add_argument('out', help='adapter to write, *.safetensors')
    save.add_argument(
        '--base',
        help='checkpoint that the training started from: make sure that the detector is still the same',
    )

    merge = commands.add_parser('merge', help='write the checkpoint of a detector with its attention')
    merge.add_argument('base', help='checkpoint that the adapter was trained on')
    merge.add_argument('adapter')
    merge.add_argument('out', help='checkpoint to write, *.pth')
    for command in (save, merge):
        command.add_argument('--overwrite', action='store_true', help='replace OUT if it exists')

    check = commands.add_parser('check', help='check that an adapter was trained on a checkpoint')
    check.add_argument('base')
    check.add_argument('adapter')
    for command in (save, merge, check):
        add_trust_option(command)

    listing = commands.add_parser('list', help='show what is in adapters')
    listing.add_argument('adapter', nargs='+')
    return parser.parse_args()


def save(args):
    checkpoint = read_checkpoint(args.checkpoint, trust_checkpoint=args.trust_checkpoint)
    base = args.base and read_checkpoint(args.base, '--base', args.trust_checkpoint)
    adapter = adapter_of_checkpoint(checkpoint, base)
    write_adapter(adapter, args.out, args.overwrite)
    return f'{args.out}: {adapter.numel:,} weights, {os.path.getsize(args.out):,} bytes'


def merge(args):
    merge_adapter(args.base, args.adapter, args.out, args.overwrite, args.trust_checkpoint)
    return f'{args.out}: {args.base} with the attention of {args.adapter}'


def check(args):
    check_base(args.base, args.adapter, args.trust_checkpoint)
    return f'{args.adapter} was trained on {args.base}'


def listing(args):
    return adapter_table({path: read_adapter(path) for path in args.adapter})


COMMANDS = dict(save=save, merge=merge, check=check, list=listing)


def main():
    args = parse_args()
    with user_input(errors=(OSError, ValueError)):
        result = COMMANDS[args.command](args)
    print_tables([result])


if __name__ == '__main__':
    run_tool(main)
