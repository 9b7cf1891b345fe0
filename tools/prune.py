#!/usr/bin/env python
"""Take channels from a trained detector and its attention, by the weights in them or by their gates."""

from rich.table import Table

from mmattn.engine.cli import (
    Parser,
    add_cfg_options,
    add_data_root_option,
    add_device_option,
    add_shape_option,
    add_trust_option,
    print_tables,
    run_tool,
)
from mmattn.engine.mistakes import user_input
from mmattn.insertion import brief_log
from mmattn.pruning import RANKINGS, Target, prune_file


def parse_args():
    parser = Parser(description=__doc__)
    parser.add_argument('config', help='config file path')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('out', metavar='OUT', help='folder for config, checkpoint and record')
    parser.add_argument('--ops', type=float, metavar='PART', help='operations that may remain, such as 0.7')
    parser.add_argument('--params', type=float, metavar='PART', help='parameters that may remain, likewise')
    parser.add_argument(
        '--rank',
        choices=RANKINGS,
        default=RANKINGS[0],
        help='what decides which channels go (default: %(default)s); where no gate is, magnitude does',
    )
    parser.add_argument(
        '--images',
        type=int,
        default=200,
        metavar='N',
        help='of --rank gates: images of the val data; 0: all (default: %(default)s)',
    )
    parser.add_argument('--seed', type=int, default=0, help='of --rank random (default: %(default)s)')
    parser.add_argument(
        '--ignore', nargs='+', default=[], metavar='GLOB', help='layers, or modules around them, left alone'
    )
    parser.add_argument(
        '--round-to',
        type=int,
        default=1,
        metavar='N',
        help='make widths multiples of N (default: %(default)s)',
    )
    parser.add_argument('--no-eval', action='store_true', help='do not evaluate before and after')
    parser.add_argument('--overwrite', action='store_true', help='replace what was written there before')
    add_shape_option(parser)
    add_device_option(parser, 'run')
    add_data_root_option(parser)
    add_trust_option(parser)
    add_cfg_options(parser)
    args = parser.parse_args()
    if args.images < 0 or args.round_to < 1:
        parser.error('--images is at least 0, --round-to at least 1')
    return args


def main():
    args = parse_args()
    with user_input():
        target = Target(args.ops, args.params, args.shape)
    with brief_log():
        files = prune_file(
            args.config,
            args.checkpoint,
            args.out,
            target,
            rank=args.rank,
            count=args.images,
            seed=args.seed,
            ignore=args.ignore,
            round_to=args.round_to,
            evaluate=not args.no_eval,
            overwrite=args.overwrite,
            data_root=args.data_root,
            cfg_options=args.cfg_options,
            device=args.device,
            trust_checkpoint=args.trust_checkpoint,
        )
    print_tables([comparison(files)])
    print(summary(files.pruning, args.rank))
    for names, why in files.pruning.kept.items():
        print(f"'{names[0]}' and what depends on it keep their channels, because of {why}")
    print(f'wrote {files.config} and {files.checkpoint}; fine-tune it: python tools/train.py {files.config}')


def comparison(files):
    """Return the table of what the detector was and is."""
    table = Table('', 'before', 'after', 'ratio')
    for key, old in files.before.items():
        new = files.after[key]
        name = 'ms an image' if key == 'latency' else key.removeprefix('coco/')
        table.add_row(name, shown(key, old), shown(key, new), f'{new / old:.3f}' if old else '')
    return table


def shown(key, value):
    """Return a number as text."""
    if key == 'latency':
        return f'{1000 * value:.1f}'
    return f'{value:,}' if isinstance(value, int) else f'{value:.4g}'


def summary(pruning, rank):
    """Return which channels went, and what ranked them."""
    groups = pruning.groups
    total = sum(group.channels for group, _ in groups)
    gone = sum(len(taken) for _, taken in groups)
    known = sum(group.channels for group, _ in groups if not pruning.ranked.isdisjoint(group.layers))
    text = f'{gone:,} of {total:,} channels in {len(groups)} groups are gone, {gone / total:.1%}'
    return text if known == total else f'{text}; {rank} ranked {known:,} of them, magnitude the rest'


if __name__ == '__main__':
    run_tool(main)
