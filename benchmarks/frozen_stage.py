"""Measure what attention in a frozen stage costs, recomputed or kept, and write the table of docs/frozen.md.

python benchmarks/frozen_stage.py --count            count memory, write the results file and the page
python benchmarks/frozen_stage.py --seconds 70 SE    time steps with SE for 70 s, and add them to the file
python benchmarks/frozen_stage.py                    the page again, from the file

A ResNet-50 with ``norm_eval`` and its first stage frozen, as in MMDetection's configs, at 480x800.
"""

import argparse
import json
import time
from pathlib import Path
from statistics import median, quantiles

import torch
from machine import describe, in_words
from pages import with_text

from mmattn.files import write_file

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / 'benchmarks/results/frozen_stage.json'
PAGE = ROOT / 'docs/frozen.md'
BEGIN, END = '<!-- benchmarks/frozen_stage.py -->', '<!-- end -->'
SIZE = (480, 800)
BLOCKS = ('SE', 'CBAM')
VARIANTS = {
    'none': 'no attention',
    'later': '{} in stages 2 to 4',
    'kept': '{} in all, `recompute=False`',
    'recomputed': '{} in all',
    'by_block': 'the same, each residual block by itself (not offered)',
}
TIMED = ('none', 'later', 'kept', 'recomputed')


def build(block, variant):
    from mmdet.models import ResNet
    from torch.utils.checkpoint import checkpoint

    from mmattn import attach

    torch.manual_seed(0)
    model = ResNet(50, frozen_stages=1, norm_eval=True)
    if variant != 'none':
        at = f'layer[{2 if variant == "later" else 1}-4].*.residual'
        rules = [dict(at=at, block=dict(type=f'mmattn.{block}', start='identity'))]
        attach(model, rules, recompute=None if variant == 'recomputed' else False)
    if variant == 'by_block':
        for each in model.layer1:
            each.forward = lambda x, run=each.forward: checkpoint(run, x, use_reentrant=False)
    model.train()
    return model


def step_of(model):
    x = image()

    def step():
        model.zero_grad()
        sum(each.mean() for each in model(x)).backward()

    return step


def kept_bytes(model):
    """Bytes of the distinct storages that a forward pass keeps for backward, without the model's own.

    A count by operations would not do: under its dispatch mode blocks are computed in plain PyTorch.
    """
    own = {each.untyped_storage().data_ptr() for each in (*model.parameters(), *model.buffers())}
    kept = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = (storage.nbytes(), storage)  # alive, so that no address comes again
        return tensor.detach()  # not what its own step keeps: that would never be freed

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        out = model(image())
    del out
    return sum(number for number, _ in kept.values())


def image():
    return torch.randn(1, 3, *SIZE, generator=torch.Generator().manual_seed(0))


def count():
    """Count what is kept for the backward pass, and what a step allocates at its peak, in bytes."""
    from mmattn.cost import peak_memory

    rows = {}
    for block in BLOCKS:
        for variant in VARIANTS:
            if variant == 'none' and rows:
                continue
            model = build(block, variant)
            kept, step = kept_bytes(model), step_of(model)
            step()  # so that the gradients of parameters exist before and after
            name = variant if variant == 'none' else f'{block} {variant}'
            rows[name] = {'kept': kept, 'peak': peak_memory(step)}
            print(name, {key: f'{value / 2**20:.1f} MiB' for key, value in rows[name].items()}, flush=True)
    return rows


def measure(block, seconds):
    """Time steps of all variants in rounds, every second one backwards, until the time is over."""
    steps = {variant: step_of(build(block, variant)) for variant in TIMED}
    began, times = time.monotonic(), {variant: [] for variant in TIMED}
    for step in steps.values():
        step()
    while time.monotonic() - began < seconds:
        forwards = len(times['none']) % 2
        for variant in TIMED if forwards else reversed(TIMED):
            start = time.perf_counter()
            steps[variant]()
            times[variant].append(time.perf_counter() - start)
    return times


def ratios(times, variant, base):
    return [one / other for one, other in zip(times[variant], times[base])]


def shown(values):
    low, *_, high = quantiles(values, n=10, method='inclusive')
    return f'{median(values):.2f} ({low:.2f} to {high:.2f})'


def page(results):
    counted, plain = results['counted'], results['counted']['none']
    lines = [
        '| attention | kept for backward | peak of a step | step, no attention = 1 | step, kept = 1 |',
        '|---|---|---|---|---|',
        f'| none | {plain["kept"] / 2**20:.0f} MiB | {plain["peak"] / 2**20:.0f} MiB | 1 | - |',
    ]
    for block in BLOCKS:
        times = results['times'].get(block)
        for variant, text in VARIANTS.items():
            row = counted.get(f'{block} {variant}')
            if variant == 'none' or row is None:
                continue
            cells = [text.format(block)]
            for key in ('kept', 'peak'):
                cells.append(f'{row[key] / 2**20:.0f} MiB (x{row[key] / plain[key]:.3f})')
            timed = times and variant in TIMED
            cells.append(shown(ratios(times, variant, 'none')) if timed else '-')
            cells.append(shown(ratios(times, variant, 'kept')) if timed and variant == 'recomputed' else '-')
            lines.append(f'| {" | ".join(cells)} |')
    rounds = ';\n'.join(
        f'{len(times["none"])} with {block} on {in_words(results["machines"][block])}'
        for block, times in results['times'].items()
    )
    note = (
        f'ResNet-50, `norm_eval`, stage 1 frozen, 1x3x{SIZE[0]}x{SIZE[1]}, float32, forward and backward. '
        'Bytes are counted; times are\nmedians of ratios in interleaved rounds, with 10th and 90th '
        f'percentiles:\n{rounds}.'
    )
    return with_text(PAGE.read_text(encoding='utf-8'), BEGIN, END, '\n'.join([*lines, '', note]))


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('blocks', nargs='*', help=f'time steps with these: {", ".join(BLOCKS)}')
    parser.add_argument('--count', action='store_true', help='count memory')
    parser.add_argument('--seconds', type=float, default=70, help='of timing each (default: %(default)s)')
    parser.add_argument('--threads', type=int, default=2, help='of PyTorch (default: %(default)s)')
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else dict(counted={}, times={}, machines={})
    if args.count:
        results['counted'] = count()
    for block in args.blocks:
        times = measure(block, args.seconds)
        results['times'][block], results['machines'][block] = times, describe()
        print(block, {variant: shown(ratios(times, variant, 'none')) for variant in TIMED}, flush=True)
    if args.count or args.blocks:
        write_file(RESULTS, json.dumps(results, indent=1) + '\n')
    if results['counted']:
        write_file(PAGE, page(results))


if __name__ == '__main__':
    main()
