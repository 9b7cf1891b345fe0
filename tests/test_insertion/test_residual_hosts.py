"""Residual blocks with attention: the tail as one, and when it is computed step by step."""

import copy
import pickle

import pytest
import torch
from mmcv.cnn.utils import fuse_conv_bn
from mmdet.models import ResNet, ResNeXt
from mmdet.models.backbones.resnet import BasicBlock, Bottleneck
from torch import nn

from mmattn import attach, detach, ops
from mmattn.insertion import attention
from mmattn.insertion.residual_hosts import is_host, steps_reason, tail_summary
from tests.test_blocks.helpers import randomise

LAZY = ('SE', 'ECA', 'ESE', 'ChannelAttention', 'SpatialAttention', 'CBAM')


def resnet(block=None, depth=50, start='paper', cls=ResNet, at='layer[1-4].*.residual', **options):
    """A narrow ResNet whose norms have statistics that no two channels share, in eval mode, as detectors'."""
    torch.manual_seed(0)
    if cls is ResNet:
        options = dict(base_channels=8, stem_channels=8, **options)
    model = cls(depth=depth, norm_eval=True, frozen_stages=1, **options)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for key, (low, high) in dict(running_mean=(-0.1, 0.1), running_var=(0.5, 1.5)).items():
                getattr(module, key).data.uniform_(low, high)
            module.bias.data.uniform_(-0.1, 0.1)
    if block is not None:
        attach(model, dict(at=at, block=dict(type=f'mmattn.{block}', start=start)))
        if start == 'paper':
            randomise(model.attention)
    model.train()
    return model


def hosts(model):
    return [module for module in model.modules() if is_host(module)]


def outputs_and_gradients(model, x, monkeypatch, mode):
    monkeypatch.setenv('MMATTN_TAIL', mode)
    model.zero_grad()
    outs = model(x)
    total = sum((out * torch.linspace(-1, 1, out.numel()).view_as(out)).sum() for out in outs)
    total.backward()
    return outs, {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.fixture
def x():
    return torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize('depth', [18, 50])
@pytest.mark.parametrize('block', LAZY)
def test_the_identity_start_is_bit_for_bit_the_stock_backbone(block, depth, x):
    stock, model = resnet(depth=depth), resnet(block, depth, 'identity')
    assert not any(map(steps_reason, hosts(model)))
    for each in (stock, model):
        each.train()
    assert all(torch.equal(a, b) for a, b in zip(stock(x), model(x)))
    for each in (stock, model):
        each.eval()
    with torch.no_grad():
        assert all(torch.equal(a, b) for a, b in zip(stock(x), model(x)))


@pytest.mark.parametrize('depth', [18, 50])
@pytest.mark.parametrize('block', LAZY)
def test_outputs_and_gradients_are_those_of_the_steps(block, depth, x, monkeypatch):
    model = resnet(block, depth)
    steps, wanted = outputs_and_gradients(model, x, monkeypatch, 'off')
    outs, gradients = outputs_and_gradients(model, x, monkeypatch, 'auto')
    assert all(torch.allclose(a, b, rtol=1e-4, atol=1e-5) for a, b in zip(outs, steps))
    assert gradients.keys() == wanted.keys()
    for name, gradient in gradients.items():
        assert (gradient - wanted[name]).norm() <= 1e-3 * wanted[name].norm() + 1e-7, name


def test_with_cp_keeps_the_gradients(x, monkeypatch):
    _, wanted = outputs_and_gradients(resnet('CBAM'), x, monkeypatch, 'auto')
    _, gradients = outputs_and_gradients(resnet('CBAM', with_cp=True), x, monkeypatch, 'auto')
    assert gradients.keys() == wanted.keys()
    assert all(torch.equal(gradient, wanted[name]) for name, gradient in gradients.items())


def kept(model, x):
    """Bytes of the distinct memory that the backward pass needs, without parameters."""
    own, found = {p.untyped_storage().data_ptr() for p in model.parameters()}, {}

    def pack(t):
        found[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t.detach()  # not what its own step keeps: that would never be freed

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        outs = model(x)  # kept until all is counted: else its memory would be used, and counted, twice
    return sum(nbytes for pointer, nbytes in found.items() if pointer not in own) if outs else 0


@pytest.mark.parametrize('block', ['SE', 'ECA', 'CBAM'])
def test_kept_activations_are_those_of_the_plain_backbone(block):
    """A promise: at most 1.01 of them, with stage 1 frozen and attention in the stages behind it."""
    x, totals = torch.randn(1, 3, 480, 800), []
    for rules in (
        [],
        [dict(at='layer[2-4].*.residual', block=dict(type=f'mmattn.{block}', start='identity'))],
    ):
        model = ResNet(50, norm_eval=True, frozen_stages=1)
        if rules:
            attach(model, rules)
        model.train()
        totals.append(kept(model, x))
    plain, with_attention = totals
    assert with_attention <= 1.01 * plain


def test_fused_norms(x):
    model = resnet('CBAM')
    model.eval()
    with torch.no_grad():
        before = [out.clone() for out in model(x)]
        fused = fuse_conv_bn(copy.deepcopy(model))
        assert isinstance(hosts(fused)[0].norm3, nn.Identity)
        assert not any(map(steps_reason, hosts(fused)))
        assert all(torch.allclose(a, b, rtol=1e-3, atol=1e-4) for a, b in zip(fused(x), before))


@pytest.mark.parametrize('treat', [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
@pytest.mark.parametrize('depth', [18, 50])
def test_copies_have_blocks_of_their_own(treat, depth, x):
    model = resnet('SE', depth)
    other = treat(model)
    assert [type(host) for host in hosts(other)] == [type(host) for host in hosts(model)]
    assert all(torch.equal(a, b) for a, b in zip(other(x), model(x)))
    for parameter in other.attention.parameters():
        parameter.data.add_(1)
    assert not torch.equal(other(x)[-1], model(x)[-1])


def test_detach_gives_the_classes_back():
    model = resnet('SE', 18)
    assert {type(host).__name__ for host in hosts(model)} == {'BasicBlockWithAttention'}
    detach(model)
    assert {type(module) for module in model.modules() if isinstance(module, BasicBlock)} == {BasicBlock}


def test_subclasses_that_share_the_forward_pass(x):
    model = resnet('SE', 50, 'identity', ResNeXt, groups=4, base_width=4)
    stock = resnet(None, 50, cls=ResNeXt, groups=4, base_width=4)
    assert len(hosts(model)) == 16 and not any(map(steps_reason, hosts(model)))
    assert all(torch.equal(a, b) for a, b in zip(stock(x), model(x)))


class OwnForward(Bottleneck):
    def forward(self, x):
        return super().forward(x) * 2


def test_subclasses_with_a_forward_pass_of_their_own_are_no_hosts():
    block = attach(OwnForward(8, 2), dict(at='residual', block=dict(type='mmattn.SE')))
    assert not is_host(block)


def hook_norm(model):
    hosts(model)[3].norm3.register_forward_hook(lambda *_: None)


def hook_block(model):
    list(model.attention.children())[3].register_forward_hook(lambda *_: None)


def hook_half(model):
    list(model.attention.children())[3].ChannelGate.register_forward_hook(lambda *_: None)


def hook_relu(model):
    hosts(model)[3].relu.register_forward_hook(lambda *_: None)


def other_relu(model):
    hosts(model)[3].relu = nn.LeakyReLU()


def other_norm(model):
    hosts(model)[3].norm3.add_module('unused', nn.Identity())
    hosts(model)[3].add_module(
        hosts(model)[3].norm3_name, nn.GroupNorm(4, hosts(model)[3].conv3.out_channels)
    )


def training_norm(model):
    hosts(model)[3].norm3.train()


def half_norm(model):
    hosts(model)[3].norm3.double()


@pytest.mark.parametrize(
    'change, reason',
    [
        (hook_norm, 'hooks'),
        (hook_block, 'hooks'),
        (hook_half, 'needs the normalised map'),
        (hook_relu, 'hooks'),
        (other_relu, 'LeakyReLU'),
        (other_norm, 'GroupNorm'),
        (training_norm, 'training mode'),
        (half_norm, 'float32'),
    ],
)
def test_one_block_steps(change, reason, x):
    model = resnet('CBAM')
    change(model)
    reasons = [steps_reason(host) for host in hosts(model)]
    assert [bool(each) for each in reasons] == [i == 3 for i in range(16)]
    assert reason in reasons[3]
    assert tail_summary(model).endswith(f'15 of 16 as one; 1 step by step: {reasons[3]}')
    if change is not half_norm:
        model(x)


def test_a_hook_sees_the_block_called(x):
    model, seen = resnet('SE'), []
    list(model.attention.children())[3].register_forward_hook(lambda *args: seen.append(args))
    model(x)
    assert len(seen) == 1
    handle = nn.modules.module.register_module_forward_hook(
        lambda module, *_: seen.append(type(module).__name__)
    )
    model(x)
    handle.remove()
    assert seen.count('SE') == 16


def test_a_hook_of_the_convolution_sees_its_output_unchanged(x):
    model, seen = resnet('SE'), []
    hosts(model)[3].conv3.register_forward_hook(lambda module, args, z: seen.append((z, z.clone())))
    model.eval()
    with torch.no_grad():
        model(x)
    assert torch.equal(*seen[0])


@pytest.mark.parametrize('block', ['SimAM', 'CoordAttention'])
def test_other_blocks_step(block, x):
    model = resnet(block)
    assert all(block in steps_reason(host) for host in hosts(model))
    model(x)


def test_several_blocks_step(x):
    model = ResNet(18, base_channels=8, stem_channels=8, norm_eval=True)
    rule = dict(at='layer4.*.residual', block=dict(type='mmattn.SE'))
    attach(model, [rule, dict(rule, order=1)])
    assert all('several' in steps_reason(host) for host in hosts(model))


def test_plugins_after_the_last_norm_step(x):
    plugins = [dict(cfg=dict(type='ContextBlock', ratio=0.25), position='after_conv3')]
    model = resnet('SE', start='identity', plugins=plugins)
    stock = resnet(plugins=plugins)
    stock.load_state_dict(model.state_dict(), strict=False)
    assert all('plugins' in steps_reason(host) for host in hosts(model))
    assert all(torch.equal(a, b) for a, b in zip(stock(x), model(x)))


def test_other_layouts_dtypes_and_empty_batches(x):
    model = resnet('CBAM', start='identity')
    stock = resnet()
    for each in (
        x.to(memory_format=torch.channels_last),
        x[:0],
        x[..., :33, :35],
    ):
        assert all(torch.equal(a, b) for a, b in zip(stock(each), model(each)))
    with torch.autocast('cpu', torch.bfloat16):
        assert all(torch.equal(a, b) for a, b in zip(stock(x), model(x)))
    for each in (stock, model):
        each.double()
    assert all(torch.equal(a, b) for a, b in zip(stock(x.double()), model(x.double())))


def test_backends_that_have_no_tail_step(x):
    model = resnet('CBAM')
    for name in ('plain', 'aten'):
        with ops.backend(name):
            assert f'0 of 16 as one; 16 step by step: the {name} backend' in tail_summary(model)
            model(x)


def test_a_model_without_hosts_has_no_summary():
    assert tail_summary(nn.Conv2d(3, 3, 1)) == ''


def test_one_line_of_the_log_says_how_the_tails_are_computed(monkeypatch):
    lines = []
    monkeypatch.setattr(attention, 'print_log', lambda message, logger, level: lines.append(message))
    model = resnet('SE', 18)
    model.eval()
    model.train()
    assert len(lines) == 1 and lines[0].endswith('8 of 8 as one')
