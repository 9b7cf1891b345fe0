"""Time a ResNet-50 with and without attention, its tails as one or step by step, and count what it keeps.

    python benchmarks/tails.py --threads 2                   write results/tails_cpu.json
    python benchmarks/tails.py --device cuda --dtype bf16    write results/tails_cuda.json

Norms in eval mode and stage 1 frozen, as in MMDetection's configs; attention in stages 2 to 4. The row "same
tail, no gate" is the plain network with norm, addition and ReLU as one: what of the gain is not attention's.
On a GPU ``MMATTN_TAIL=on`` asks for the tail, since the bits of the steps may be others there.
``python benchmarks/speed_page.py`` writes docs/speed.md from the file.
"""

import argparse
import json
import math
import os
from functools import partial
from pathlib import Path

import torch
from machine import describe

from mmattn import attach
from mmattn.blocks import AttentionBlock
from mmattn.cost import time_interleaved
from mmattn.files import write_file
from mmattn.insertion import brief_log
from mmattn.registry import MODELS

RESULTS = Path(__file__).resolve().parent / 'results'
DTYPES = dict(fp32=torch.float32, bf16=torch.bfloat16)
NO_GATE = 'same tail, no gate'
AGAIN = 'none, a second time'


@MODELS.register_module()
class NoGate(AttentionBlock):
    """A block that leaves its map as it is."""

    _abbr_ = 'no_gate'
    paper_is_identity = True
    supports_lazy_map = True

    def __init__(self, in_channels, start='paper', init_cfg=None):
        super().__init__(in_channels, start, init_cfg)

    def gates(self, x):
        return {}

    def reset_parameters(self):
        pass


def backbone(block):
    from mmdet.models import ResNet

    torch.manual_seed(0)
    model = ResNet(50, norm_eval=True, frozen_stages=1)
    if block:
        rule = dict(at='layer[2-4].*.residual', block=dict(type=f'mmattn.{block}', start='identity'))
        with brief_log():
            attach(model, rule)
    return model


def upper_limit(ratios):
    """Return the upper limit of the median, 95 % one-sided, by its ranks."""
    below, n = 0.0, len(ratios)
    for k in range(n):
        below += math.comb(n, k) / 2**n
        if below >= 0.95:
            return sorted(ratios)[min(k + 1, n - 1)]
    return max(ratios)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--blocks', nargs='+', default=['SE', 'ECA', 'CBAM'])
    parser.add_argument('--size', nargs=2, type=int, default=[480, 800])
    parser.add_argument('--batch', type=int, default=1)
    parser.add_argument('--repeats', type=int, default=30)
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--dtype', choices=DTYPES, default='fp32', help='bf16: by autocast')
    parser.add_argument('--threads', type=int, help='of PyTorch')
    parser.add_argument('--output', type=Path, help='default: results/tails_cpu.json or tails_cuda.json')
    args = parser.parse_args(argv)
    device, dtype = torch.device(args.device), DTYPES[args.dtype]
    if args.threads:
        torch.set_num_threads(args.threads)
    x = torch.randn(args.batch, 3, *args.size, device=device)
    as_one = 'on' if device.type == 'cuda' else 'auto'
    models = {'none': (backbone(None).to(device), 'off'), NO_GATE: (backbone('NoGate').to(device), as_one)}
    for block in args.blocks:
        if len(models) == 4:  # in the middle: what two of the same kind differ by
            models[AGAIN] = (backbone(None).to(device), 'off')
        model = backbone(block).to(device)
        models |= {f'{block}, as one': (model, as_one), f'{block}, step by step': (model, 'off')}

    def forward(model):
        with torch.autocast(device.type, dtype, dtype != torch.float32):
            return model(x)

    def run(model, mode, training):
        os.environ['MMATTN_TAIL'] = mode
        model.train(training)
        if training:
            sum(out.float().mean() for out in forward(model)).backward()
            model.zero_grad()
        else:
            with torch.no_grad():
                forward(model)

    rows = []
    for training in (True, False):
        runs = {name: partial(run, model, mode, training) for name, (model, mode) in models.items()}
        times = time_interleaved(runs, args.repeats, 2, device=device)
        for name, timing in times.items():
            ratios = [one / other for one, other in zip(timing.seconds, times['none'].seconds)]
            row = dict(
                attention=name,
                training=training,
                seconds=timing.seconds,
                ratio=timing.ratio(times['none']),
                upper_limit=upper_limit(ratios),
            )
            if training:
                model, os.environ['MMATTN_TAIL'] = models[name]
                model.train()
                row['kept_bytes'] = kept(model, partial(forward, model))
            rows.append(row)
            print(f'{name:24} {"training" if training else "inference":9} x{row["ratio"]:.3f}', flush=True)
    found = dict(machine=describe(), batch=args.batch, size=args.size, dtype=args.dtype, rows=rows)
    output = args.output or RESULTS / f'tails_{device.type}.json'
    write_file(output, json.dumps(found, indent=1) + '\n')


def kept(model, forward):
    """Return the bytes of distinct memory that a training step keeps, without parameters and buffers."""
    own = {t.untyped_storage().data_ptr() for t in [*model.parameters(), *model.buffers()]}
    shapes = {p.shape for p in model.parameters()}  # of copies that autocast makes of parameters
    found = {}

    def pack(t):
        if t.shape not in shapes:
            found[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t.detach()  # not what its own step keeps: that would never be freed

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        outs = forward()  # alive while we count: else its memory would be used, and counted, twice
    return sum(nbytes for pointer, nbytes in found.items() if pointer not in own) if outs else 0


if __name__ == '__main__':
    main()
