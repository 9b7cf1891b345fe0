"""Rules on what a block computes."""

from __future__ import annotations

import copy

import torch

from mmattn.blocks.base import STARTS
from mmattn.blocks.contract.rules import rule
from mmattn.blocks.contract.subject import (
    PRECISIONS,
    SHAPES,
    Subject,
    off_by,
    randomise,
    results_of,
    smooth_map,
)


@rule('gate', 'additive')
def starts_as_identity(subject: Subject) -> None:
    """start='identity' returns its input bit for bit, for every shape, precision and mode."""
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        for shape in SHAPES:
            x = subject.map(*shape, dtype=dtype)
            for training in (True, False):
                out = subject(32, start='identity').train(training)(x)
                where = f'{shape}, {dtype}, training={training}'
                assert out.dtype == dtype, f'{where}: the output is {out.dtype}'
                assert out.equal(x), f'{where}: the output is not the input'


@rule('gate')
def multiplies_by_its_gates(subject: Subject) -> None:
    """The output is the map times the gates, which have the shapes of their names and lie in their range."""
    for start in STARTS:
        for n, c, h, w in (subject.shape(*shape) for shape in SHAPES):
            block = randomise(subject(32, start=start)).eval()
            x = expected = smooth_map(n, c, h, w, dtype=torch.float32)
            for name, gate in block.gates(x).items():
                groups = gate.shape[1]
                sizes = {
                    'channel': (n, c, 1, 1),
                    'spatial': (n, 1, h, w),
                    'height': (n, c, h, 1),
                    'width': (n, c, 1, w),
                    'frame': (n, 1, 1, 1),
                    'group': (n, groups, h, w),
                    'element': (n, c, h, w),
                }
                assert name in sizes, f'gates() names {name!r}; possible: {", ".join(sizes)}'
                assert gate.shape == sizes[name], f'gate {name!r} is {tuple(gate.shape)}, not {sizes[name]}'
                assert ((gate >= 0) & (gate <= block.ceiling)).all(), (
                    f'{name!r} is not in 0 to {block.ceiling}'
                )
                expected = expected * (gate.repeat_interleave(c // groups, 1) if name == 'group' else gate)
            torch.testing.assert_close(block(x), expected)


@rule('gate', 'additive')
def is_right_under_autocast(subject: Subject) -> None:
    """Autocast changes nothing for a map in fp32, and little for one in bf16."""
    block = randomise(subject(32)).eval()
    x = subject.map(2, 32, 9, 5)
    expected = block(x)
    with torch.autocast('cpu', torch.bfloat16):
        # The gates are computed in fp32, so autocast changes nothing for an fp32 map.
        assert block(x).equal(expected), 'autocast changes the result: compute in ops.full_precision(x)'
        half = block(x.bfloat16())
    assert half.dtype == torch.bfloat16, f'the output of a map in bf16 is {half.dtype}'
    torch.testing.assert_close(half.float(), expected, rtol=0.02, atol=0.02)


@rule('gate', 'additive')
def does_not_overflow_in_fp16(subject: Subject) -> None:
    """Large values in fp16 overflow nowhere, forward and backward."""
    block = subject(32)
    # The product must be within the range of fp16, too.
    large = torch.full(subject.shape(2, 32, 64, 64), 6e4 / block.ceiling, dtype=torch.float16)
    mixed = torch.where(torch.arange(64) % 3 == 0, -large, large)
    for x in (large, mixed):
        with torch.autocast('cpu', torch.float16):
            out = block.train()(x.requires_grad_())
        assert torch.isfinite(out).all(), 'the output overflows'
        out.float().mean().backward()
        for each in (x, *block.parameters()):
            assert torch.isfinite(each.grad).all(), 'a gradient overflows'


@rule()
def is_right_in_models_of_other_precisions(subject: Subject) -> None:
    """After ``.half()`` or ``.bfloat16()`` of the model, output and gradients are near those in float64."""
    for dtype in PRECISIONS:
        block = randomise(subject(32)).eval().to(dtype)
        exact = copy.deepcopy(block).double()
        x = subject.map(2, 32, 9, 6, dtype=dtype)
        got, expected = (
            results_of(each, value, dict(each.named_parameters()))
            for each, value in ((block, x), (exact, x.double()))
        )
        problem = off_by(got, expected, dtype)
        assert not problem, problem


@rule()
def keeps_memory_formats(subject: Subject) -> None:
    """channels_last stays, and strides change nothing."""
    block = randomise(subject(32)).eval()
    x = subject.map(2, 32, 9, 6)
    expected = block(x)
    out = block(x.to(memory_format=torch.channels_last))
    assert out.is_contiguous(memory_format=torch.channels_last), 'the output is not in channels_last'
    torch.testing.assert_close(out, expected)
    strided = torch.stack([x, x], -1)[..., 0]
    torch.testing.assert_close(block(strided), expected)


@rule()
def leaves_its_input_alone(subject: Subject) -> None:
    """The map is not written to."""
    x = subject.map(2, 32, 9, 6)
    before = x.clone()
    subject(32)(x)
    assert x.equal(before), 'the input is written to'


@rule()
def can_be_copied(subject: Subject) -> None:
    """A deep copy computes alike, and shares nothing."""
    block = randomise(subject(32)).eval()
    x = subject.map(2, 32, 9, 6)
    expected = block(x)
    other = copy.deepcopy(block)
    randomise(block, seed=5)
    assert other(x).equal(expected), 'the copy computes something else, or shares weights'
    if block.state_dict():
        assert not block(x).equal(expected), 'its weights have no effect'
