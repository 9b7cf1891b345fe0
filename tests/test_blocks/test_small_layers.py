"""Matrix products in place of convolutions: the same values and gradients, and not where somebody watches."""

import pytest
import torch
from torch import nn

from mmattn.blocks import ECA, ESE, SE, _small_layers


class OwnConv(nn.Conv2d):
    """A layer that is not PyTorch's own."""


def inputs():
    torch.manual_seed(0)
    return torch.randn(3, 12, 1, 1, dtype=torch.float64).requires_grad_()


def cases():
    torch.manual_seed(1)
    first, last = nn.Conv2d(12, 4, 1), nn.Conv2d(4, 12, 1, bias=False)
    return dict(
        pointwise=(lambda f, x: _small_layers.pointwise(f, x), nn.Conv2d(12, 5, 1)),
        perceptron=(
            lambda f, x: _small_layers.perceptron(f[0], f[1], f[2], x),
            nn.Sequential(first, nn.ReLU(inplace=True), last),
        ),
        along_channels=(
            lambda f, x: _small_layers.along_channels(f, x),
            nn.Conv1d(1, 1, 5, padding=2, bias=False),
        ),
    )


def called(layers, x):
    """What the layers themselves give."""
    if isinstance(layers, nn.Conv1d):
        return layers(x.flatten(2).transpose(1, 2)).transpose(1, 2)[..., None]
    return layers(x)


@pytest.mark.parametrize('name', cases())
def test_values_and_gradients_are_those_of_the_layers(name):
    function, layers = cases()[name]
    layers = layers.double()
    found = []
    for each in (function, called):
        x = inputs()
        y = each(layers, x)
        layers.zero_grad()
        (y * torch.arange(y.numel()).view_as(y)).sum().backward()
        found.append([y, x.grad, *[p.grad for p in layers.parameters()]])
    assert found[0][0].shape == found[1][0].shape
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize('name', cases())
def test_a_layer_that_is_watched_is_called(name):
    function, layers = cases()[name]
    layers, seen = layers.double(), []
    watched = layers if isinstance(layers, (nn.Conv2d, nn.Conv1d)) else layers[2]
    watched.register_forward_hook(lambda module, args, out: seen.append(out))
    function(layers, inputs())
    assert len(seen) == 1


def test_a_layer_of_another_class_is_called():
    x, conv = inputs(), OwnConv(12, 4, 1).double()
    conv.forward = lambda x: x[:, :4] * 7
    assert _small_layers.pointwise(conv, x).equal(x[:, :4] * 7)
    stock = nn.Conv2d(12, 4, 1).double()
    stock.forward = lambda x: x[:, :4] * 7
    assert _small_layers.pointwise(stock, x).equal(x[:, :4] * 7)


@pytest.mark.filterwarnings('ignore')  # torch.jit is deprecated, and a tracer warns of each look at a shape
@pytest.mark.parametrize('block', [SE, ESE, ECA])
def test_tracers_and_modes_see_the_convolution(block):
    from torch.utils.flop_counter import FlopCounterMode

    module, x = block(32).eval(), torch.randn(2, 32, 5, 4)
    with FlopCounterMode(display=False) as counter:
        module(x)
    assert any('convolution' in str(each) for each in counter.get_flop_counts()['Global'])
    traced = torch.jit.trace(module, x)
    assert 'convolution' in str(traced.inlined_graph)
