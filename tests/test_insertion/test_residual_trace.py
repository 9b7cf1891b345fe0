"""Residual blocks are found by what their forward pass does, whatever their class is called."""

import copy
import pickle

import pytest
import torch
from mmcv.cnn import fuse_conv_bn
from mmengine.model.utils import convert_sync_batchnorm
from torch import nn
from torch.utils.checkpoint import checkpoint

from mmattn import attach, detach, sites
from tests.test_insertion.test_survives import randomise


class DropPath(nn.Module):
    def forward(self, x):
        return x * (torch.rand(len(x), 1, 1, 1) > 0.5) if self.training else x


class Residual(nn.Module):
    """As MMPretrain and MMSegmentation write it: the branch ends with a norm, or with drop path after it."""

    def __init__(self, channels=4, drop_path=False, downsample=False, with_cp=False):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels)
        self.conv2, self.bn2 = nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = (
            nn.Sequential(nn.Conv2d(channels, channels, 1), nn.BatchNorm2d(channels)) if downsample else None
        )
        self.drop_path = DropPath() if drop_path else nn.Identity()
        self.with_cp = with_cp

    def forward(self, x):
        def inner(x):
            out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
            identity = x if self.downsample is None else self.downsample(x)
            out = self.drop_path(out)
            out += identity
            return out

        out = checkpoint(inner, x, use_reentrant=False) if self.with_cp and x.requires_grad else inner(x)
        return self.relu(out)


class LayerScaled(nn.Module):
    """As ConvNeXt: a factor and drop path end the branch."""

    def __init__(self):
        super().__init__()
        self.conv, self.gamma = nn.Conv2d(4, 4, 3, padding=1), nn.Parameter(torch.ones(4))
        self.drop_path = DropPath()

    def forward(self, x):
        return x + self.drop_path(self.conv(x).mul(self.gamma.view(1, -1, 1, 1)))


class Broadcast(nn.Module):
    """As GCNet: one vector added to all positions is no branch of maps."""

    def __init__(self):
        super().__init__()
        self.pool, self.conv = nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 4, 1)

    def forward(self, x):
        return x + self.conv(self.pool(x))


class TwoBranches(nn.Module):
    """As RepVGG: no branch is the identity, or each is."""

    def __init__(self):
        super().__init__()
        self.conv3, self.conv1 = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 1)

    def forward(self, x):
        return torch.relu(self.conv3(x) + self.conv1(x))


class SharedEnd(nn.Module):
    """The child at the end is called twice: a block on it would act in two places."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x):
        return x + self.conv(self.conv(x))


class Net(nn.Module):
    def __init__(self, *blocks):
        super().__init__()
        self.stem, self.blocks, self.last = nn.Conv2d(3, 4, 1), nn.Sequential(*blocks), nn.Conv2d(4, 4, 1)

    def forward(self, x):
        return self.last(self.blocks(self.stem(x)))


def found(*blocks):
    return {site.name: site for site in sites(Net(*blocks), (32, 48)) if site.part == 'residual'}


@pytest.mark.parametrize('downsample', [False, True])
@pytest.mark.parametrize('drop_path', [False, True])
@pytest.mark.parametrize('with_cp', [False, True])
def test_the_branch_is_found_before_drop_path(drop_path, downsample, with_cp):
    (site,) = found(Residual(4, drop_path, downsample, with_cp)).values()
    assert (site.name, site.path, site.end) == ('blocks.0.residual', 'blocks.0', 'bn2')
    assert (site.channels, site.size) == (4, (32, 48))


def test_a_factor_at_the_end_is_inside_the_branch():
    (site,) = found(LayerScaled()).values()
    assert (site.name, site.path, site.position) == ('blocks.0.residual', 'blocks.0.drop_path', 'input')


@pytest.mark.parametrize('block', [Broadcast, TwoBranches, SharedEnd])
def test_other_sums_are_no_residual_blocks(block):
    assert not found(block())


def net(**options):
    torch.manual_seed(0)
    return Net(Residual(**options), Residual(**options), Residual(downsample=True))


def with_cbam(model, start='paper'):
    attach(model, dict(at='blocks.*.residual', block=dict(type='mmattn.CBAM', start=start, reduction=2)))
    for block in model.attention.values():
        if start == 'paper':
            randomise(block)
    return model


def by_hand(block, attention, x):
    """A residual block with attention, written out."""
    out = attention(block.bn2(block.conv2(torch.relu(block.bn1(block.conv1(x))))))
    return torch.relu(out + (x if block.downsample is None else block.downsample(x)))


@pytest.mark.parametrize('with_cp', [False, True])
def test_the_block_acts_before_the_addition(with_cp):
    stock, model = net().eval(), with_cbam(net(with_cp=with_cp)).eval()
    x = torch.randn(2, 3, 8, 12)
    expected = model.stem(x)
    for i, block in enumerate(stock.blocks):  # those of the model call attention by themselves
        expected = by_hand(block, model.attention[f'blocks_{i}_residual'], expected)
    torch.testing.assert_close(model(x), model.last(expected), rtol=1e-5, atol=1e-6)


def test_a_dropped_branch_stays_dropped():
    model = with_cbam(net(drop_path=True)).train()
    block, x = model.blocks[0], torch.rand(64, 4, 5, 5)
    is_identity = (block(x) == x).flatten(1).all(1)
    assert 0 < is_identity.sum() < 64


@pytest.mark.parametrize('training', [False, True])
def test_the_identity_start_leaves_every_bit(training):
    stock, model = net().train(training), with_cbam(net(), 'identity').train(training)
    model.load_state_dict(stock.state_dict(), strict=False)
    x = torch.randn(2, 3, 8, 12)
    assert model(x).equal(stock(x))


def test_the_block_survives_what_replaces_norms():
    model = with_cbam(net()).eval()
    x = torch.randn(1, 3, 8, 12)
    expected = model(x)
    torch.testing.assert_close(copy.deepcopy(fuse_conv_bn(copy.deepcopy(model)))(x), expected)
    synced = convert_sync_batchnorm(copy.deepcopy(model)).train().eval()
    assert isinstance(synced.blocks[0].bn2, nn.SyncBatchNorm)
    torch.testing.assert_close(synced(x), expected)


def test_a_copy_has_its_own_block_and_so_has_a_pickled_one():
    model = with_cbam(net()).eval()
    x = torch.randn(1, 3, 8, 12)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert other(x).equal(model(x))
        with torch.no_grad():
            for p in other.attention.parameters():
                p.zero_()
        assert not other(x).equal(model(x))


def test_detach_gives_the_first_model_back():
    model, stock = net(), net()
    for change in (lambda model: model, fuse_conv_bn):
        other = detach(change(with_cbam(copy.deepcopy(model)).eval()))
        assert all(type(block) is Residual for block in other.blocks)
        assert not any(module._forward_hooks for module in other.modules())
        torch.testing.assert_close(other(torch.ones(1, 3, 8, 8)), stock.eval()(torch.ones(1, 3, 8, 8)))


def test_it_compiles_and_exports_as_a_whole():
    model = with_cbam(net()).eval()
    x = torch.randn(1, 3, 8, 12)
    torch.testing.assert_close(torch.compile(model, fullgraph=True, backend='eager')(x), model(x))
    torch.testing.assert_close(torch.export.export(model, (x,)).module()(x), model(x))


def test_gradients_reach_every_parameter():
    model = with_cbam(net()).train()
    model(torch.randn(2, 3, 8, 12)).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in model.attention.parameters())
