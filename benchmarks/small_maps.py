"""Time blocks on small maps: by our operators, by plain PyTorch, and by the official formula.

    python benchmarks/small_maps.py --threads 2

Where plain PyTorch is faster, blocks leave a map to it: ``lazy_from`` of each block was read off here.
"""

import argparse

import torch
from blocks import runner
from official import FORMULAS

SIZES = [
    (64, 7, 5),
    (128, 14, 14),
    (256, 14, 14),
    (256, 28, 28),
    (512, 28, 28),
    (1024, 28, 28),
    (2048, 25, 42),
]


def measure(block_name, shape, training, repeats):
    """Return the timing of each way to compute a block."""
    from contextlib import nullcontext

    from mmattn import blocks
    from mmattn.cost import time_interleaved

    block = getattr(blocks, block_name)(shape[1]).train(training)
    x, dy = torch.randn(shape).requires_grad_(training), torch.randn(shape)
    ways = dict(plain=(block, 'plain'), cpu=(block, 'cpu'), auto=(block, 'auto'))
    if block_name in FORMULAS:
        ways['official'] = (lambda x: FORMULAS[block_name](block, x), 'plain')
    runs = {name: runner(*way, x, dy, training, nullcontext) for name, way in ways.items()}
    return time_interleaved(runs, repeats, 3, device=torch.device('cpu'))


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--blocks', nargs='+', default=[*FORMULAS, 'ESE'])
    parser.add_argument('--batch', type=int, default=2)
    parser.add_argument('--repeats', type=int, default=40)
    parser.add_argument('--threads', type=int, help='of PyTorch')
    args = parser.parse_args(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    for block_name in args.blocks:
        for training in (True, False):
            for size in SIZES:
                shape = (args.batch, *size)
                times = measure(block_name, shape, training, args.repeats)
                print(
                    f'{block_name:16} {"training " if training else "inference"} '
                    f'{"x".join(map(str, shape)):14} {torch.Size(shape).numel():9,} elements, us: '
                    + '  '.join(f'{name} {timing.median * 1e6:6.0f}' for name, timing in times.items()),
                    flush=True,
                )


if __name__ == '__main__':
    main()
