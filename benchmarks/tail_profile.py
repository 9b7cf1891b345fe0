"""Show where the time of a ResNet-50's training step goes, with and without the tail as one.

    python benchmarks/tail_profile.py --threads 2            write results/tail_profile.json

The networks of tails.py, profiled by turns, one step a round. Times are the median over the rounds of what
each group of operator takes by itself, so that overhead which PyTorch's profiler adds is in all of them.
``python benchmarks/speed_page.py`` writes docs/speed.md from the file.
"""

import argparse
import json
import os
from statistics import median

import torch
from machine import describe
from tails import AGAIN, NO_GATE, RESULTS, backbone
from torch.profiler import ProfilerActivity, profile

from mmattn.files import write_file

# What an operator of the profile does in a residual network; the tail's own operators are called after it.
GROUPS = {
    'aten::convolution_backward': 'convolutions, backward',
    'aten::mkldnn_convolution': 'convolutions, forward',
    'aten::native_batch_norm': 'norms, forward',
    'aten::native_batch_norm_backward': 'norms, backward',
    'aten::threshold_backward': 'ReLU, backward',
    'aten::clamp_min_': 'ReLU, forward',
    'aten::add_': 'additions, of gradients too',
}


def group_of(name):
    """Return the row in which an operator is counted."""
    if name.startswith('tail'):
        return 'tails, backward' if 'Backward' in name else 'tails, forward'
    return GROUPS.get(name, 'all else')


def step(model, x):
    sum(out.mean() for out in model(x)).backward()
    model.zero_grad()


def milliseconds(model, x):
    """Return the time of one training step by groups of operators."""
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        step(model, x)
    found = {}
    for event in profiler.key_averages():
        group = group_of(event.key)
        found[group] = found.get(group, 0) + event.self_cpu_time_total / 1e3
    return found


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--blocks', nargs='+', default=['SE', 'CBAM'])
    parser.add_argument('--size', nargs=2, type=int, default=[480, 800])
    parser.add_argument('--repeats', type=int, default=12)
    parser.add_argument('--threads', type=int, help='of PyTorch')
    args = parser.parse_args(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    os.environ['MMATTN_TAIL'] = 'auto'
    x = torch.randn(1, 3, *args.size)
    models = {'none': backbone(None), NO_GATE: backbone('NoGate')}
    models |= {block: backbone(block) for block in args.blocks} | {AGAIN: backbone(None)}
    rounds = {name: [] for name in models}
    for number in range(-2, args.repeats):
        for name in list(models)[:: 1 if number % 2 else -1]:
            models[name].train()
            found = milliseconds(models[name], x)
            if number >= 0:
                rounds[name].append(found)
    groups = dict.fromkeys(group for each in rounds.values() for found in each for group in found)
    rows = [
        dict(attention=name, ms={group: median(found.get(group, 0) for found in each) for group in groups})
        for name, each in rounds.items()
    ]
    for row in rows:
        print(row['attention'], {group: round(ms, 1) for group, ms in row['ms'].items()})
    found = dict(machine=describe(), size=args.size, repeats=args.repeats, rows=rows)
    write_file(RESULTS / 'tail_profile.json', json.dumps(found, indent=1) + '\n')


if __name__ == '__main__':
    main()
