"""Time attention blocks on the maps of a ResNet-50, ours beside others, and write results/blocks_*.json.

    python benchmarks/blocks.py --threads 2       measure on this machine's CPU, write results/blocks_cpu.json
    python benchmarks/blocks.py --device cuda     on its GPU, write results/blocks_cuda.json

``python benchmarks/speed_page.py`` writes docs/speed.md from the files.
"""

import argparse
import json
import time
from contextlib import nullcontext
from pathlib import Path

import torch
from machine import describe
from map_traffic import eager, ours
from official import FORMULAS
from peers import PEERS

from mmattn.files import write_file

ROOT = Path(__file__).resolve().parents[1]
# Ends of the residual branches of an image of 800x1344.
MAPS = {
    'layer1': (256, 200, 336),
    'layer2': (512, 100, 168),
    'layer3': (1024, 50, 84),
    'layer4': (2048, 25, 42),
}
DTYPES = dict(fp32=torch.float32, bf16=torch.bfloat16, fp16=torch.float16)
WAYS = ('official', 'plain', 'compiled', 'ours', *PEERS)
"""Ways to compute a block. official: the official formula in eager mode; plain: our block with
``MMATTN_OPS=plain``; compiled: the same under ``torch.compile``; ours: our block by default."""


def way(name, block, block_name):
    """Return a function that computes ``block`` in this way (``None`` if none does), and its backend."""
    if name == 'official':
        formula = FORMULAS.get(block_name)
        return formula and (lambda x: formula(block, x)), 'plain'
    if name == 'plain':
        return block, 'plain'
    if name == 'ours':
        return block, 'auto'
    if name == 'compiled':
        return torch.compile(block, fullgraph=True, dynamic=False), 'plain'
    peer = PEERS[name](block_name, block.in_channels)
    return peer and peer.to(next(block.parameters()).device).train(block.training), 'plain'


def runner(function, backend, x, dy, training, autocast):
    from mmattn import ops

    def run():
        with ops.backend(backend), autocast():
            if training:
                x.grad = None
                function(x).backward(dy)
            else:
                with torch.no_grad():
                    function(x)

    return run


def check(runs, block_name, size, x, parameters):
    """Check that all ways give the same gradients of the map and of all parameters.

    Returns ``['compiled']`` if ``torch.compile`` gives others; raises an error if ours or the formula does.
    """
    found, wrong = {}, []
    for name in ('official', 'plain', 'ours', 'compiled'):
        if name in runs:
            for parameter in parameters:
                parameter.grad = None
            runs[name]()
            found[name] = [t.grad.float().clone() for t in (x, *parameters)]
    half = x.dtype != torch.float32
    if half:  # it makes many equal maxima: the official code gives all of their gradient to the first of them
        found.pop('official', None)
    first, *others = found
    for name in others:
        worst = max(
            ((one - other).norm() / one.norm().clamp(min=1e-6)).nan_to_num(nan=float('inf')).item()
            for one, other in zip(found[first], found[name])
        )
        if worst > (5e-2 if half else 1e-3):
            assert name == 'compiled', (
                f'{block_name} {size} {x.dtype}: {name} differs from {first} by {worst}'
            )
            wrong.append(name)
    return wrong


def kept(function, x):
    """Return the bytes kept for the backward pass, without parameters and with each storage counted once."""
    storages = {}

    def pack(t):
        if not t.is_leaf or t is x or t.data_ptr() == x.data_ptr():
            storages[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t.detach()  # not what its own step keeps: that would never be freed

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        function(x)
    return sum(storages.values())


def launches(run):
    """Return the number of kernels that a run launches on a GPU."""
    from torch.profiler import DeviceType, ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiled:
        run()
        torch.cuda.synchronize()
    return sum(
        event.device_type == DeviceType.CUDA and 'Mem' not in event.name for event in profiled.events()
    )


def several(function, times):
    return lambda: [function() for _ in range(times)]


def copies(x, repeats):
    """Return the seconds that a copy of a map takes, into existing memory and into newly allocated memory."""
    from mmattn.cost import time_interleaved

    y = torch.empty_like(x)
    inner = 20 if x.is_cuda else 1

    times = time_interleaved(
        dict(copy=several(lambda: y.copy_(x), inner), clone=several(x.clone, inner)),
        repeats,
        3,
        device=x.device,
    )
    return times['copy'].median / inner, times['clone'].median / inner


def measure(block_name, where, dtype, device, args, deadline):
    from mmattn import blocks
    from mmattn.cost import time_interleaved

    shape = (args.batch, *MAPS[where])
    torch.manual_seed(0)
    block = getattr(blocks, block_name)(shape[1]).to(device)
    half = DTYPES[dtype] != torch.float32

    def autocast():
        return torch.autocast(device.type, DTYPES[dtype]) if half else nullcontext()

    x = torch.randn(shape, device=device, dtype=DTYPES[dtype])
    x = x.to(
        memory_format=torch.channels_last if args.layout == 'nhwc' else torch.contiguous_format
    ).requires_grad_()
    dy = torch.randn_like(x)
    copy, clone = copies(x.detach(), args.repeats)
    rows = []
    for training in (True, False):
        block.train(training)
        with torch.no_grad():  # a spatial gate of zero weights has no gradient to compare
            for each in block.parameters():
                each.copy_(torch.randn_like(each) * 0.2)
        torch.compiler.reset()
        functions = {
            name: way(name, block, block_name)
            for name in args.ways
            if name != 'compiled' or time.monotonic() < deadline
        }
        runs = {
            name: runner(function, backend, x, dy, training, autocast)
            for name, (function, backend) in functions.items()
            if function is not None
        }
        wrong = check(runs, block_name, shape, x, list(block.parameters())) if training else []
        inner = 10 if device.type == 'cuda' else 1
        times = time_interleaved(
            {name: several(run, inner) for name, run in runs.items()},
            args.repeats,
            3 if inner > 1 else 1,
            device=device,
        )
        row = dict(
            block=block_name,
            map=where,
            wrong=wrong,
            shape=shape,
            dtype=dtype,
            layout=args.layout,
            training=training,
            copy_seconds=copy,
            clone_seconds=clone,
            seconds={name: [s / inner for s in timing.seconds] for name, timing in times.items()},
        )
        base = times['official' if 'official' in times else 'plain']
        row['times_as_fast'] = {name: 1 / timing.ratio(base) for name, timing in times.items()}
        row['launches'] = {name: launches(run) for name, run in runs.items()} if device.type == 'cuda' else {}
        row['kept_bytes'] = {}
        row['map_transfers'] = {}
        if training:
            from mmattn import ops

            for name, (function, backend) in functions.items():
                if function is None or name == 'compiled':
                    continue
                with ops.backend(backend), autocast():
                    row['kept_bytes'][name] = kept(function, x)
                    row['map_transfers'][name] = (ours if name == 'ours' else eager)(function, x)
        elif rows:
            row['map_transfers'] = {name: (moved[0], 0) for name, moved in rows[0]['map_transfers'].items()}
        # A copy moves two maps.
        row['share_of_copy'] = {
            name: sum(moved) / 2 * copy / (times[name].median / inner)
            for name, moved in row['map_transfers'].items()
        }
        rows.append(row)
    return rows


def show(row):
    print(
        f'{row["block"]:5} {row["map"]} {row["dtype"]} {"training " if row["training"] else "inference"} '
        + '  '.join(f'{name} x{value:.2f}' for name, value in row['times_as_fast'].items()),
        flush=True,
    )


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--blocks', nargs='+', default=['SE', 'ECA', 'CBAM'])
    parser.add_argument('--maps', nargs='+', default=list(MAPS), choices=list(MAPS))
    parser.add_argument('--dtypes', nargs='+', default=['fp32', 'bf16'], choices=list(DTYPES))
    parser.add_argument('--layout', default='nchw', choices=['nchw', 'nhwc'])
    parser.add_argument('--ways', nargs='+', default=list(WAYS), choices=WAYS)
    parser.add_argument('--batch', type=int, default=2)
    parser.add_argument('--repeats', type=int, default=7)
    parser.add_argument('--threads', type=int, help='of PyTorch, on a CPU')
    parser.add_argument(
        '--compile-seconds', type=float, default=float('inf'), help='after so long torch.compile is left out'
    )
    parser.add_argument('--output', type=Path, help='default: results/blocks_cpu.json or blocks_cuda.json')
    args = parser.parse_args(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    device = torch.device(args.device)
    output = args.output or ROOT / f'benchmarks/results/blocks_{device.type}.json'
    deadline = time.monotonic() + args.compile_seconds
    rows = []
    for block_name in args.blocks:
        for dtype in args.dtypes:
            for where in args.maps:
                found = measure(block_name, where, dtype, device, args, deadline)
                rows += found
                for row in found:
                    show(row)
                output.parent.mkdir(parents=True, exist_ok=True)
                write_file(output, json.dumps(dict(machine=describe(), rows=rows), indent=1) + '\n')


if __name__ == '__main__':
    main()
