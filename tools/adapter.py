#!/usr/bin/env python
"""Adapters: attention's weights alone, for the detector that they were trained on."""

import argparse
import os
import sys

from rich.console import Console

from mmattn.checkpoints import (
    AdapterError,
    adapter_of_checkpoint,
    check_base,
    merge_adapter,
    read_adapter,
    write_adapter,
)
from mmattn.checkpoints.adapter import load_file
from mmattn.checkpoints.adapter_table import adapter_table


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest='command', required=True)

    save = commands.add_parser('save', help='take the attention out of a checkpoint')
    save.add_argument('checkpoint', help='of a detector with attention')
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
        command.add_argument('--overwrite', action='store_true', help='replace OUT if it is there')

    check = commands.add_parser('check', help='whether an adapter was trained on a checkpoint')
    check.add_argument('base')
    check.add_argument('adapter')

    listing = commands.add_parser('list', help='what is in adapters')
    listing.add_argument('adapter', nargs='+')
    return parser.parse_args()


def main():
    args = parse_args()
    if args.command == 'save':
        adapter = adapter_of_checkpoint(load_file(args.checkpoint), args.base and load_file(args.base))
        write_adapter(adapter, args.out, args.overwrite)
        print(f'{args.out}: {adapter.numel:,} weights, {os.path.getsize(args.out):,} bytes')
    elif args.command == 'merge':
        merge_adapter(args.base, args.adapter, args.out, args.overwrite)
        print(f'{args.out}: {args.base} with the attention of {args.adapter}')
    elif args.command == 'check':
        check_base(args.base, args.adapter)
        print(f'{args.adapter} was trained on {args.base}')
    else:
        console = Console()
        if not console.is_terminal:
            console.width = 200  # a file or a pipe has no width of its own
        console.print(adapter_table({path: read_adapter(path) for path in args.adapter}))


if __name__ == '__main__':
    try:
        main()
    except (AdapterError, OSError, ValueError) as error:
        sys.exit(f'{type(error).__name__}: {error}')
