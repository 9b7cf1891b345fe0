"""The contract of all blocks, for options and sizes drawn by hypothesis."""

import pytest
import torch

from mmattn.blocks.base import STARTS
from tests.test_blocks.helpers import randomise, smooth_map
from tests.test_blocks.test_contract import BLOCKS, every

hypothesis = pytest.importorskip('hypothesis', reason='hypothesis is not installed')
st = hypothesis.strategies
SETTINGS = hypothesis.settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)
SIDES = st.integers(1, 9)
SHAPES = st.tuples(st.integers(0, 3), st.sampled_from([4, 12, 32]), SIDES, SIDES)


@st.composite
def options(draw, subject):
    return {name: draw(st.sampled_from(values)) for name, values in subject.case.values.items()}


def built(subject, data, channels, start):
    return subject(channels, start=start, **data.draw(options(subject), label='options'))


@every('gate', 'additive')
@hypothesis.given(data=st.data())
@SETTINGS
def test_starts_as_identity(subject, data):
    shape = data.draw(SHAPES)
    dtype = data.draw(st.sampled_from([torch.float32, torch.bfloat16, torch.float16]))
    block = built(subject, data, shape[1], 'identity').train(data.draw(st.booleans(), label='training'))
    x = smooth_map(*subject.shape(*shape), dtype=dtype)
    out = block(x)
    assert out.equal(x) and out.dtype == dtype


@every()
@hypothesis.given(data=st.data())
@SETTINGS
def test_keeps_its_promises(subject, data):
    """Shape, dtype and memory format are kept, gradients are finite, forward multiplies by the gates."""
    shape = data.draw(SHAPES)
    block = randomise(built(subject, data, shape[1], data.draw(st.sampled_from(STARTS))))
    x = smooth_map(*subject.shape(*shape), dtype=torch.float32)
    if data.draw(st.booleans(), label='channels_last'):
        x = x.contiguous(memory_format=torch.channels_last)
    out = block.eval()(x)
    assert out.dtype == x.dtype and (out.shape == x.shape or block.role == 'convolution')
    if out.numel() and not x.is_contiguous():
        assert out.is_contiguous(memory_format=torch.channels_last)
    if block.role == 'gate':
        expected = x
        for gate in block.gates(x).values():
            assert ((gate >= 0) & (gate <= block.ceiling)).all()
            expected = expected * gate.repeat_interleave(
                shape[1] // gate.shape[1] if gate.shape[1] > 1 else 1, 1
            )
        torch.testing.assert_close(out, expected)
    x = x.detach().requires_grad_()
    block.train()(x).sum().backward()
    for each in (x, *block.parameters()):
        assert each.grad is not None and torch.isfinite(each.grad).all()


@every()
@hypothesis.given(data=st.data())
@hypothesis.settings(SETTINGS, max_examples=4)
def test_gradient_is_that_of_finite_differences(subject, data):
    h, w = data.draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    block = randomise(built(subject, data, 4, data.draw(st.sampled_from(STARTS)))).double().eval()
    x = smooth_map(*subject.shape(2, 4, h, w)).requires_grad_()
    names = [name for name, _ in block.named_parameters()]

    def f(x, *parameters):
        return torch.func.functional_call(block, dict(zip(names, parameters)), (x,))

    assert torch.autograd.gradcheck(f, (x, *block.parameters()), fast_mode=True)


def test_every_block_is_drawn():
    assert len(BLOCKS) > 10
