"""Measure what PyTorch's THP_MEM_ALLOC_ENABLE=1 brings, and write results/large_pages.json.

    python benchmarks/large_pages.py --threads 2

Two processes, one with the variable and one without, take turns. ``python benchmarks/speed_page.py`` writes
docs/speed.md from the file.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import torch
from blocks import MAPS, runner
from machine import describe
from official import FORMULAS

from mmattn.files import write_file

ROOT = Path(__file__).resolve().parents[1]
VARIABLE = 'THP_MEM_ALLOC_ENABLE'
WAYS = ('official', 'ours')


def runs(args):
    """Return every run by its name: block, whether it trains, and the way."""
    from mmattn import blocks

    made = {}
    for block_name in args.blocks:
        shape = (args.batch, *MAPS[args.map])
        x, dy = torch.randn(shape).requires_grad_(), torch.randn(shape)
        for training in (True, False):
            block = getattr(blocks, block_name)(shape[1]).train(training)
            functions = dict(
                official=(lambda x, block=block, name=block_name: FORMULAS[name](block, x), 'plain'),
                ours=(block, 'auto'),
            )
            for way in WAYS:
                made[f'{block_name} {training} {way}'] = runner(*functions[way], x, dy, training, nullcontext)
    return made


def serve(args):
    """Time a run for every name that comes in, and say how many seconds it took."""
    made = runs(args)
    for line in sys.stdin:
        run = made[line.strip()]
        start = time.perf_counter()
        run()
        print(time.perf_counter() - start, flush=True)


def child(argv, enabled):
    return subprocess.Popen(
        [sys.executable, __file__, '--serve', *argv],
        env={**os.environ, VARIABLE: '1' if enabled else '0'},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def asked(process, name):
    time.sleep(0.02)  # until the threads of the other process sleep
    process.stdin.write(f'{name}\n')
    process.stdin.flush()
    return float(process.stdout.readline())


def main(argv=None):
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--blocks', nargs='+', default=['SE', 'CBAM'], choices=list(FORMULAS))
    parser.add_argument('--map', default='layer1', choices=list(MAPS))
    parser.add_argument('--batch', type=int, default=2)
    parser.add_argument('--repeats', type=int, default=9)
    parser.add_argument('--threads', type=int, help='of PyTorch')
    parser.add_argument('--serve', action='store_true', help=argparse.SUPPRESS)
    parser.add_argument('--output', type=Path, default=ROOT / 'benchmarks/results/large_pages.json')
    args = parser.parse_args(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    if args.serve:
        serve(args)
        return
    rows = []
    with child(argv, False) as without, child(argv, True) as using:
        for block in args.blocks:
            for training in (True, False):
                seconds = {}
                for _ in range(args.repeats + 1):
                    for way in WAYS:
                        for process, name in ((without, way), (using, f'{way} {VARIABLE}')):
                            took = asked(process, f'{block} {training} {way}')
                            seconds.setdefault(name, []).append(took)
                seconds = {name: each[1:] for name, each in seconds.items()}  # the first warms up
                shape = (args.batch, *MAPS[args.map])
                rows.append(dict(block=block, training=training, shape=shape, dtype='fp32', seconds=seconds))
                print(block, training, {k: f'{sorted(v)[len(v) // 2] * 1e3:.1f}' for k, v in seconds.items()})
        without.stdin.close()
        using.stdin.close()
    write_file(args.output, json.dumps(dict(machine=describe(), rows=rows), indent=1) + '\n')


if __name__ == '__main__':
    main()
