"""What is done to the modules of an attended model, and leaves its attention in place.

Against the stock model treated alike (identity start: bit for bit), and against the attended model
before the treatment (trained attention: up to the order of summation, in float64).
"""

import copy

import pytest
import torch
from mmcv.cnn.utils import fuse_conv_bn as mmcv_fuse_conv_bn
from mmengine.model import convert_sync_batchnorm, revert_sync_batchnorm
from mmengine.model.utils import _BatchNormXd
from mmengine.optim import AmpOptimWrapper
from mmengine.runner.activation_checkpointing import turn_on_activation_checkpointing
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmattn import attach
from mmattn.blocks import CBAM
from tests.reference.cbam import cbam
from tests.test_blocks.helpers import randomise
from tests.test_insertion.models import build, features, model_cfg, narrow

# Every way a block is put on its host: in residual blocks, on outputs, inputs, and maps of a tuple.
PLACES = (
    'backbone.layer[1-4].*.residual',
    'backbone.stage[34]',
    'neck.lateral',
    'neck.topdown',
    'neck.fpn_convs.*',
    'neck.output',
)


def rules(start):
    # Few hidden units of narrow maps could all be shut; these are half as many as the maps.
    return [dict(at=at, block=dict(type='mmattn.CBAM', start=start, reduction=2)) for at in PLACES] + [
        dict(at='backbone.stage4', block=dict(type='mmattn.SE', start=start, reduction=2), order=1)
    ]


def cbams(model):
    """Every CBAM by the name of its site; behind one of them stands another block."""
    found = {
        name.partition('.')[0]: block
        for name, block in model.attention.named_modules()
        if isinstance(block, CBAM)
    }
    assert len(found) == len(model.attention)
    return found


def detector(depth=18, insert=None, **options):
    return build(narrow(model_cfg('RetinaNet', depth, insert, **options)))


def stock_and_identity(depth=18, **options):
    """Two models of the same weights, none of them at a value that would hide something."""
    stock = detector(depth, **options)
    model = detector(depth, rules('identity'), **options)
    for each in (stock, model):
        randomise_norms(each)
    return stock, model


def randomise_norms(model):
    """Statistics and weights that no two channels share, near enough to one for deep networks."""
    generator = torch.Generator().manual_seed(0)
    for name, module in model.named_modules():
        if isinstance(module, _BatchNorm) and not name.startswith('attention.'):
            ranges = dict(weight=(0.5, 1), bias=(-0.1, 0.1), running_mean=(-0.1, 0.1), running_var=(0.5, 1.5))
            for key, (low, high) in ranges.items():
                getattr(module, key).data.uniform_(low, high, generator=generator)


def trained(depth=18, **options):
    """A model whose attention does something, in float64."""
    model = detector(depth, rules('paper'), **options)
    randomise_norms(model)
    randomise(model.attention)
    return model.double()


def gradients(model, forward=features):
    model.zero_grad()
    sum(f.square().mean() for f in forward(model)).backward()
    # None of the attention is a copy that was left behind.
    idle = [name for name, p in model.named_parameters() if name.startswith('attention.') and p.grad is None]
    assert not idle, idle
    return {
        name.replace('_orig_mod.', ''): p.grad for name, p in model.named_parameters() if p.grad is not None
    }


def assert_all_equal(found, expected):
    assert len(found) == len(expected)
    assert all(a.equal(b) for a, b in zip(found, expected))


def assert_all_close(found, expected):
    assert len(found) == len(expected)
    for a, b in zip(found, expected):
        assert a.shape == b.shape and (a - b).abs().max() <= 1e-9 * b.abs().max()


def assert_same_gradients(found, expected):
    assert found.keys() == expected.keys()
    assert any(name.startswith('attention.') for name in found)
    for name, gradient in expected.items():
        scale = gradient.abs().max()
        assert scale > 0 or not found[name].any(), name
        assert (found[name] - gradient).abs().max() <= 1e-9 * scale, name


def norms_of(model):
    return {type(m) for m in model.modules() if isinstance(m, _BatchNorm)}


CONVERSIONS = {'torch': nn.SyncBatchNorm.convert_sync_batchnorm, 'mmengine': convert_sync_batchnorm}


@pytest.mark.parametrize('convert', CONVERSIONS.values(), ids=CONVERSIONS)
@pytest.mark.parametrize('depth', [18, 50])
def test_sync_bn_conversion_and_its_reversal(convert, depth):
    # In training too: SyncBatchNorm in a single process is BatchNorm, also on a CPU.
    model = trained(depth, norm_eval=False).train()
    plain = copy.deepcopy(model)
    converted = convert(model).train()  # MMEngine forgets the mode of each norm
    assert norms_of(converted) == {nn.SyncBatchNorm}
    assert type(converted.attention['backbone_layer4_0_residual'].SpatialGate.spatial.bn) is nn.SyncBatchNorm
    assert_same_gradients(gradients(converted), gradients(plain))
    # The statistics that one forward pass left are those that the model, not a forgotten copy, holds.
    statistics = plain.state_dict()
    for name, value in converted.state_dict().items():
        torch.testing.assert_close(value, statistics[name], msg=name)
    back = revert_sync_batchnorm(converted)  # as init_detector does
    assert norms_of(back) == {_BatchNormXd}
    plain.eval(), back.eval()
    assert_all_close(features(back), features(plain))


@pytest.mark.parametrize('depth', [18, 50])
def test_sync_bn_conversion_of_an_identity(depth):
    stock, model = (convert_sync_batchnorm(m).eval() for m in stock_and_identity(depth))
    assert_all_equal(features(model), features(stock))


@pytest.mark.parametrize('depth', [18, pytest.param(50, marks=pytest.mark.slow)])
def test_attention_survives_conv_bn_fusion(depth):
    stock, model = (mmcv_fuse_conv_bn(m.eval()) for m in stock_and_identity(depth))
    assert not norms_of(model.backbone)
    assert_all_equal(features(model), features(stock))
    model = trained(depth).eval()
    expected = features(model)
    model = mmcv_fuse_conv_bn(model)
    # Fused in the attention as well: CBAM's convolution has a norm behind it.
    assert not norms_of(model)
    assert_all_close(features(model), expected)
    for block in cbams(model).values():  # each still in its place
        found = features(model)
        block.ChannelGate.mlp[3].bias.data += 1
        assert any(not a.allclose(b) for a, b in zip(features(model), found))


# 'identity' is exact for whole models; a trained block's gates are compared where they are applied.
AMP = [pytest.param('cpu', 'bfloat16', id='cpu-bf16'), pytest.param('cpu', 'float16', id='cpu-fp16')] + [
    pytest.param(
        'cuda',
        dtype,
        id=f'cuda-{dtype}',
        marks=pytest.mark.skipif(not torch.cuda.is_available(), reason='no CUDA device'),
    )
    for dtype in ('bfloat16', 'float16')
]


@pytest.mark.parametrize('device, dtype', AMP)
def test_attention_survives_autocast(device, dtype):
    dtype = getattr(torch, dtype)
    stock, model = (m.to(device).eval() for m in stock_and_identity())
    images = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0)).to(device)
    with torch.autocast(device, dtype), torch.no_grad():
        found = model.extract_feat(images)
        assert found[0].dtype == dtype
        assert_all_equal(found, stock.extract_feat(images))

    model = detector(insert=rules('paper')).to(device).eval()
    randomise(model.attention)
    seen = {}
    for key, block in cbams(model).items():
        block.register_forward_hook(
            lambda block, inputs, output, key=key: seen.update(
                {key: (inputs[0].detach().clone(), output.detach().clone())}
            )
        )  # hosts add in place
    with torch.autocast(device, dtype):
        out = model.extract_feat(images)
    sum(f.float().sum() for f in out).backward()
    assert seen.keys() == set(model.attention)
    for key, (x, y) in seen.items():
        assert y.dtype == x.dtype
        block = cbams(model)[key]
        weights = {k: v.double() for k, v in block.state_dict().items()}
        expected = cbam(x.double(), weights)
        # Gates in float32; the input and each of the two products are rounded to this dtype.
        torch.testing.assert_close(y.double(), expected, rtol=3 * torch.finfo(y.dtype).eps, atol=1e-3)
        for name, p in block.named_parameters():
            assert torch.isfinite(p.grad).all() and p.grad.dtype == torch.float32, name
        assert block.ChannelGate.mlp[3].bias.grad.any()


@pytest.mark.skipif(not torch.cuda.is_available(), reason='AmpOptimWrapper needs a CUDA device')
@pytest.mark.parametrize('dtype', ['bfloat16', 'float16'])
def test_mmengines_amp_optimizer_trains_attention(dtype):
    model = detector(insert=rules('identity'), zero_init_residual=False).cuda().train()
    wrapper = AmpOptimWrapper(
        dtype=dtype, loss_scale='dynamic', optimizer=torch.optim.SGD(model.parameters(), lr=1e-2)
    )
    before = {name: p.clone() for name, p in model.attention.named_parameters()}
    images = torch.randn(2, 3, 64, 96, device='cuda')
    for _ in range(3):
        with wrapper.optim_context(model):
            loss = sum(f.float().square().mean() for f in model.extract_feat(images))
        wrapper.update_params(loss)
    for name, p in model.attention.named_parameters():
        assert torch.isfinite(p).all() and p.dtype == torch.float32
        if 'mlp.3' in name or 'bn' in name:
            assert not p.equal(before[name]), name


@pytest.mark.parametrize('depth', [18, 50])
@pytest.mark.parametrize('checkpointing', ['with_cp', 'mmengine'])
def test_attention_survives_activation_checkpointing(checkpointing, depth):
    options = dict(frozen_stages=-1, norm_eval=True)
    plain = trained(depth, **options).train()
    calls = []
    if checkpointing == 'with_cp':
        model = trained(depth, with_cp=True, **options).train()
    else:
        model = copy.deepcopy(plain)
        turn_on_activation_checkpointing(
            model, ['backbone.layer1', 'backbone.layer2.1', 'backbone.layer4', 'neck.fpn_convs.0']
        )
    model.attention['backbone_layer4_1_residual'].register_forward_pre_hook(lambda *_: calls.append(1))
    expected = gradients(plain)
    assert_same_gradients(gradients(model), expected)
    assert len(calls) == 2  # computed again in the backward pass: it was not kept
    model.eval(), plain.eval()
    # The statistics of attention's norms saw the batch twice, as any norm under checkpointing.
    bn = [m.attention['backbone_layer4_1_residual'].SpatialGate.spatial.bn for m in (model, plain)]
    assert bn[0].num_batches_tracked == 2 and bn[1].num_batches_tracked == 1
    for mine, theirs in zip(model.attention.buffers(), plain.attention.buffers()):
        mine.copy_(theirs)
    assert_all_close(features(model), features(plain))


class Detector(nn.Module):
    """A stage of ResNet-18 and an FPN: compiled in seconds."""

    def __init__(self):
        super().__init__()
        from mmdet.models import FPN, ResNet

        self.backbone = ResNet(
            18,
            num_stages=1,
            strides=(2,),
            dilations=(1,),
            out_indices=(0,),
            base_channels=8,
            stem_channels=8,
            frozen_stages=-1,
        )
        self.neck = FPN([8], 8, 2)

    def extract_feat(self, x):
        return self.neck(self.backbone(x))


@pytest.mark.parametrize('backend', ['aot_eager', pytest.param('inductor', marks=pytest.mark.slow)])
@pytest.mark.parametrize('part', ['backbone', 'neck'])
def test_attention_survives_compilation(part, backend):
    """Without a graph break, outputs and gradients of attention as in eager mode."""
    torch.manual_seed(0)
    at = dict(
        backbone=['backbone.layer1.*.residual', 'backbone.layer1'],
        neck=['neck.topdown', 'neck.fpn_convs.*', 'neck.output'],
    )
    model = attach(Detector(), [dict(at=at[part], block=dict(type='mmattn.CBAM'))])
    randomise_norms(model)
    randomise(model.attention)
    model = model.double().train()
    x = torch.randn(2, 3, 48, 32, dtype=torch.float64)

    def forward(model):
        return model.extract_feat(x)

    plain = copy.deepcopy(model)
    expected, wanted = forward(plain), gradients(plain, forward)
    torch._dynamo.reset()
    try:
        setattr(model, part, torch.compile(getattr(model, part), backend=backend, fullgraph=True))
        assert_all_close(forward(model), expected)
        found = gradients(model, forward)
        assert_same_gradients(found, wanted)
        for mine, theirs in zip(model.attention.buffers(), plain.attention.buffers()):
            assert mine.allclose(theirs)
        if backend == 'inductor':  # another compilation
            model.eval(), plain.eval()
            assert_all_close(forward(model), forward(plain))
        # It is the block that the model holds which runs: a change to it is seen.
        randomise(model.attention, seed=5)
        assert not forward(model)[0].allclose(forward(plain)[0])
    finally:
        torch._dynamo.reset()
