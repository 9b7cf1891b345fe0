"""Blocks lose channels as the map does: against the whole block on a map whose lost channels are zero."""

from copy import deepcopy

import pytest
import torch

from mmattn.blocks import BAM, CBAM, NonLocal
from mmattn.blocks.channels import keep_channels
from tests.test_blocks.cases import all_blocks

C = 32
KEPT = torch.tensor([0, 1, 4, 9, 10, 11, 17, 20, 30, 31])
BLOCKS = {name: block for name, block in all_blocks().items() if block.role != 'convolution'}
REFUSED = {'EMA', 'External', 'NonLocal', 'SGE'}
# What they compute of a channel depends on the others by sums only, in which a zero is nothing.
SUMS = ['BAM', 'Capacity', 'ChannelAttention', 'CoordAttention', 'ESE', 'GlobalContext', 'SCSE', 'SE']
SUMS += ['SimAM', 'StaticGate']


def random_block(subject):
    torch.manual_seed(0)
    block = subject.cls(C, **subject.case.options).eval()
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return block


@pytest.mark.parametrize('name', SUMS)
def test_a_channel_less_is_a_channel_at_zero(name):
    block = random_block(BLOCKS[name])
    x = torch.randn(2, C, 7, 5)
    if name == 'ChannelAttention':
        x = x.abs()  # a maximum above the zeros
    gone = torch.ones(C, dtype=torch.bool)
    gone[KEPT] = False
    pruned = deepcopy(block)
    keep_channels(pruned, KEPT)
    expected = block(x.masked_fill(gone[:, None, None], 0))[:, KEPT]
    torch.testing.assert_close(pruned(x[:, KEPT]), expected, rtol=1e-5, atol=1e-6)
    assert not pruned(x[:, KEPT]).allclose(x[:, KEPT])


@pytest.mark.parametrize('name', sorted(BLOCKS.keys() - REFUSED))
def test_every_other_block_runs_trains_and_starts_anew(name):
    block = random_block(BLOCKS[name])
    before = {key: value.shape for key, value in block.state_dict().items()}
    keep_channels(block, KEPT)
    assert block.in_channels == len(KEPT) and f'in_channels={len(KEPT)}' in repr(block)
    x = torch.randn(2, len(KEPT), 7, 5, requires_grad=True)
    out = block.train()(x)
    assert out.shape == x.shape
    out.sum().backward()
    assert all(parameter.grad is not None for parameter in block.parameters())
    # An axis that is not one of channels keeps its size.
    for key, value in block.state_dict().items():
        assert all(new in (old, len(KEPT)) for new, old in zip(value.shape, before[key], strict=True))
    block.init_weights()
    if block.role == 'gate':
        assert all(gate.shape[1] in (1, len(KEPT)) for gate in block.gates(x).values())


@pytest.mark.parametrize('name', sorted(REFUSED))
def test_a_refused_block_says_why_and_is_as_it_was(name):
    block = random_block(BLOCKS[name])
    before = {key: value.clone() for key, value in block.state_dict().items()}
    with pytest.raises(ValueError, match='channels|widths'):
        keep_channels(block, KEPT)
    assert all(value.equal(before[key]) for key, value in block.state_dict().items())


def test_a_block_that_says_nothing_is_refused():
    class Mine(CBAM):
        channel_axes = CBAM.__mro__[1].channel_axes

    with pytest.raises(ValueError, match='Mine does not say by channel_axes'):
        keep_channels(Mine(C), KEPT)
    with pytest.raises(ValueError, match='NonLocal takes the widths'):
        NonLocal(C).channel_axes()


def test_norms_lose_their_statistics_too():
    block = BAM(C, form='paper')
    norm = block.channel_att.gate_c.gate_c_bn_final
    norm.running_mean.copy_(torch.arange(C))
    keep_channels(block, KEPT)
    assert norm.running_mean.equal(KEPT.float()) and norm.num_features == len(KEPT)
    assert block(torch.rand(2, len(KEPT), 5, 5)).shape == (2, len(KEPT), 5, 5)
