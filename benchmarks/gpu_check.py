"""Check on a device that the fast backends compute the same as formulas in float64.

    python benchmarks/gpu_check.py --device cuda --output check.json

It prints and writes the result of each check; the exit code is 1 if one failed.
"""

import argparse
import copy
import json
import os
import sys
import traceback
from contextlib import contextmanager
from itertools import product
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]
from machine import describe  # noqa: E402

from mmattn.files import write_file  # noqa: E402
from tests.test_ops import tail_oracle  # noqa: E402
from tests.test_ops.oracle import USES, computed, expected, gradients, leaves  # noqa: E402

# Relative errors allowed, and why: see tests/test_ops/test_backends/test_numbers.py.
TOLERANCES = {torch.float64: 1e-11, torch.float32: 2e-5, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}
SIZES = [
    (2, 3, 7, 129),
    (1, 65, 7, 7),
    (3, 1, 1, 7),
    (2, 65, 1, 1),
    (1, 3, 129, 1),
    (1, 65, 129, 129),
    (2, 300, 33, 40),
    (2, 256, 64, 66),
    (2, 2048, 25, 42),
]
BLOCKS = ('SE', 'ECA', 'ESE', 'ChannelAttention', 'SpatialAttention', 'CBAM')


class NotChecked(Exception):
    """Why a check cannot be made here, which is no failure."""


def close(one, other, tolerance, what):
    one, other = one.double(), other.double()
    scale = max(other.abs().max().item(), 1.0) if other.numel() else 1.0
    worst = (one - other).abs().max().item() / scale if other.numel() else 0.0
    if not worst <= tolerance:
        raise AssertionError(f'{what}: relative error {worst:.3g}, allowed {tolerance:.3g}')


def values_and_gradients(backend, device, sizes):
    """Compare values and all gradients, of all uses of a map."""
    from mmattn.ops.backends import triton

    for shape, dtype, layout in product(sizes, TOLERANCES, ('nchw', 'nhwc', 'strided')):
        # The interpreter cuts bf16 off where a GPU rounds.
        exact = backend == 'triton' and dtype == torch.bfloat16 and triton.is_interpreted()
        inputs = [t.detach().to(device).requires_grad_() for t in leaves(shape, dtype, layout, exact=exact)]
        made, right = computed(*inputs, USES), expected(*inputs, USES)
        for name in USES:
            close(made[name], right[name], TOLERANCES[dtype], f'{shape} {dtype} {layout} {name}')
        for name, one, other in zip(
            ('x', 'channel', 'spatial'), gradients(made, inputs, dtype), gradients(right, inputs, dtype)
        ):
            close(one, other, TOLERANCES[dtype], f'{shape} {dtype} {layout} gradient of {name}')


def same_every_time(backend, device, sizes):
    inputs = [t.detach().to(device).requires_grad_() for t in leaves(sizes[-1], torch.float32, 'nchw')]
    found = []
    for _ in range(3):
        made = computed(*inputs, USES)
        found.append([*made.values(), *gradients(made, inputs, torch.float32)])
    assert all(a.equal(b) for other in found[1:] for a, b in zip(found[0], other)), (
        'results differ between runs'
    )


def finite_differences(backend, device, sizes):
    inputs = [t.detach().to(device).requires_grad_() for t in leaves((2, 3, 4, 3), torch.float64, 'nchw')]
    assert torch.autograd.gradcheck(lambda *args: tuple(computed(*args, USES).values()), inputs)


def _blocks(device):
    from mmattn import blocks
    from tests.test_blocks.helpers import randomise

    for name in BLOCKS:
        yield name, randomise(getattr(blocks, name)(64)).to(device)


def _train(block, x):
    block.zero_grad()
    x = x.detach().clone().requires_grad_()
    out = block(x)
    out.float().square().sum().backward()
    return [out, x.grad, *(p.grad for p in block.parameters())]


def automatic_mixed_precision(backend, device, sizes):
    from mmattn import ops

    for name, block in _blocks(device):
        x = torch.randn(2, 64, 25, 42, device=device)
        for dtype in (torch.bfloat16, torch.float16):
            with torch.autocast(device.type, dtype):
                got = _train(block, x.to(dtype))
                with ops.backend('plain'):
                    want = _train(block, x.to(dtype))
            # By the mean square: a sum in another order moves a gate by a rounding, and a maximum elsewhere.
            for one, other in zip(got, want):
                error = ((one - other).float().norm() / other.float().norm().clamp(min=1e-6)).item()
                assert error <= 0.05, f'{name} {dtype}: relative error {error:.3g}, allowed 0.05'


def compiled(backend, device, sizes):
    """Compile blocks to one graph of custom operators, for two map sizes; also with the default backend."""
    from mmattn import ops

    for (name, block), each in product(_blocks(device), (backend, 'auto')):
        torch.compiler.reset()
        other = torch.compile(copy.deepcopy(block), fullgraph=True)
        for shape in ((2, 64, 25, 42), (2, 64, 18, 7)):
            x = torch.randn(shape, device=device)
            with ops.backend(each):
                for one, two in zip(_train(block, x), _train(other, x)):
                    close(two, one, 1e-3, f'{name} {shape} {each}')


def exported(backend, device, sizes):
    for name, block in _blocks(device):
        x, block = torch.randn(2, 64, 25, 42, device=device), block.eval()
        program = torch.export.export(
            block, (x,), dynamic_shapes=({2: torch.export.Dim('h', min=2, max=512)},)
        )
        y = torch.randn(2, 64, 31, 42, device=device)
        close(program.module()(y), block(y), 1e-4, name)


def activation_checkpointing(backend, device, sizes):
    from torch.utils.checkpoint import checkpoint

    for name, block in _blocks(device):
        x, again = torch.randn(2, 64, 25, 42, device=device), copy.deepcopy(block)
        want, y = _train(block, x), x.clone().requires_grad_()
        checkpoint(again, y, use_reentrant=False).square().sum().backward()
        close(y.grad, want[1], 1e-6, name)


def more_than_2_to_the_31(backend, device, sizes):
    """Check the last elements of a map with more than 2 ** 31 of them."""
    n, side = (1, 8200) if device.type == 'cuda' else (1, 64)
    from mmattn import ops

    one_hot = torch.zeros(n, 32, side, side, device=device, dtype=torch.float16)
    assert device.type != 'cuda' or one_hot.numel() > 2**31
    one_hot[0, -1, -1, -1] = 3.0
    for layout in (torch.contiguous_format, torch.channels_last):
        x = one_hot.contiguous(memory_format=layout).requires_grad_()
        channel = torch.full((1, 32, 1, 1), 0.5, device=device).requires_grad_()
        lazy_map = ops.lazy(x)
        avg, amax = ops.spatial_avg_max(lazy_map)
        lazy_map = ops.apply_gate(lazy_map, channel)
        stats = ops.channel_stats(lazy_map)
        out = ops.materialize(lazy_map)
        assert (
            out[0, -1, -1, -1] == 1.5 and amax[0, -1] == 3 and amax[0, 0] == 0 and stats[0, 0, -1, -1] == 1.5
        )
        total = amax.sum() + out[0, -1, -1, -1].float() + stats[0, 0, -1, -1]
        dx, dchannel = torch.autograd.grad(total, (x, channel))
        assert dx[0, -1, -1, -1] == 2 and dx[0, -1, 0, 0] == 0 and dchannel[0, -1] == 6
        del x, lazy_map, out, dx


def tails(backend, device, sizes):
    """Compare tails of residual blocks with the formula, in both layouts; and look for lost maxima."""
    layouts, dtypes = tail_oracle.LAYOUTS, (torch.float64, torch.float32, torch.float16, torch.bfloat16)
    if backend == 'cpu':
        layouts, dtypes = layouts[:1], (torch.float32, torch.bfloat16)
    tolerances = {torch.float32: 2e-3, torch.float16: 0.05, torch.bfloat16: 0.05}
    for shape, layout, dtype in product(sizes, layouts, dtypes):
        for uses in tail_oracle.USES:
            pooling, _, has_stats = uses
            if dtype.itemsize == 2 and ('max' in pooling or has_stats):
                continue  # by a rounding another element is the maximum; see below instead
            if dtype == torch.float64:
                limits = {}
            else:
                limits = dict(measure=tail_oracle.difference_on_the_whole, tolerance=tolerances[dtype])
            tail_oracle.check(backend, shape, True, 'all', uses, dtype, layout, device, **limits)
        tail_oracle.check_that_maxima_are_found_again(backend, shape[1:], dtype, layout, device)


def tails_of_a_resnet(backend, device, sizes):
    """Compare a ResNet-18 whose tails are computed as one with the same step by step."""
    from mmattn.ops.dispatch import has_tail

    if not has_tail(backend):
        raise NotChecked(f'the {backend} backend computes no tails')
    try:
        from mmdet.models import ResNet
    except ImportError as error:
        raise NotChecked(f'MMDetection is missing: {error}') from error
    from mmattn import attach
    from mmattn.insertion.residual_hosts import tail_summary
    from tests.test_blocks.helpers import randomise

    shape = (2, 3, 224, 320) if device.type == 'cuda' else (1, 3, 32, 32)
    layouts = tail_oracle.LAYOUTS if backend != 'cpu' else tail_oracle.LAYOUTS[:1]
    for block, layout in product(('SE', 'ECA', 'CBAM'), layouts):
        torch.manual_seed(0)
        model = ResNet(18, norm_eval=True, frozen_stages=-1)
        attach(model, dict(at='layer*.*.residual', block=dict(type=f'mmattn.{block}', start='paper')))
        randomise(model.attention)
        model = model.to(device, memory_format=layout).train()
        x, found = torch.randn(shape, device=device).to(memory_format=layout), {}
        for mode in ('on', 'off'):
            with _environment('MMATTN_TAIL', mode):
                assert ('8 of 8 as one' in tail_summary(model)) == (mode == 'on'), tail_summary(model)
                model.zero_grad()
                outs = model(x)
                sum(out.square().mean() for out in outs).backward()
                grads = {name: p.grad for name, p in model.named_parameters()}
                found[mode] = {**{f'output {i}': out for i, out in enumerate(outs)}, **grads}
        for name, other in found['off'].items():
            error = ((found['on'][name] - other).norm() / other.norm().clamp(min=1e-12)).item()
            # Convolutions on a GPU round to TF32, and a last bit can move an element over the ReLU's edge.
            assert error <= 0.02, f'{block} {layout} {name}: relative error {error:.3g}, allowed 0.02'


@contextmanager
def _environment(name, value):
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


CHECKS = [
    values_and_gradients,
    tails,
    tails_of_a_resnet,
    same_every_time,
    finite_differences,
    automatic_mixed_precision,
    activation_checkpointing,
    exported,
    more_than_2_to_the_31,
    compiled,
]


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--device', default='cuda')
    parser.add_argument('--backend', default='triton')
    parser.add_argument('--sizes', type=int, default=len(SIZES), help='so many of the sizes')
    parser.add_argument('--skip', nargs='+', default=[], choices=[check.__name__ for check in CHECKS])
    parser.add_argument('--output', type=Path)
    args = parser.parse_args(argv)
    from mmattn import ops

    device, results = torch.device(args.device), {}
    for check in CHECKS:
        if check.__name__ in args.skip:
            continue
        try:
            with ops.backend(args.backend):
                check(args.backend, device, SIZES[: args.sizes])
            from mmattn.ops.dispatch import missing_reason

            assert not missing_reason(args.backend), missing_reason(args.backend)  # given up, and replaced
            results[check.__name__] = 'ok'
        except NotChecked as reason:
            results[check.__name__] = f'not checked: {reason}'
        except Exception as error:  # each is told, and the others are made all the same
            traceback.print_exc()
            results[check.__name__] = f'{type(error).__name__}: {error}'[:2000]
        print(f'{check.__name__}: {results[check.__name__][:200]}', flush=True)
        if args.output:
            write_file(
                args.output,
                json.dumps(dict(machine=describe(), backend=args.backend, checks=results), indent=1) + '\n',
            )
    return int(not all(result == 'ok' or result.startswith('not checked') for result in results.values()))


if __name__ == '__main__':
    sys.exit(main())
