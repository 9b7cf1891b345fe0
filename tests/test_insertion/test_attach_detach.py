import copy
import pickle

import pytest
import torch
from mmdet.models import FasterRCNN, ResNet
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import MODELS

from mmattn import attach, detach, sites
from mmattn.blocks import CBAM
from tests.test_blocks.helpers import randomise
from tests.test_insertion.models import build, everywhere, features, model_cfg


def attended_keys(model):
    return {key for key in model.state_dict() if key.startswith('attention.')}


@pytest.mark.parametrize(
    'depth', [18, pytest.param(34, marks=pytest.mark.slow), 50, pytest.param(101, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize('detector', ['FasterRCNN', 'RetinaNet'])
def test_identity_start_answers_like_the_stock_detector(detector, depth):
    stock = build(model_cfg(detector, depth))
    model = build(model_cfg(detector, depth, everywhere()))
    assert isinstance(model, MODELS.get(f'mmdet.{detector}'))
    # Same seed, same weights: the attention took nothing from the global random state.
    for key, value in stock.state_dict().items():
        assert model.state_dict()[key].equal(value), key
    assert set(model.state_dict()) - set(stock.state_dict()) == attended_keys(model)
    blocks = {18: 8, 34: 16, 50: 16, 101: 33}[depth]
    levels = len(stock.neck.fpn_convs) + len(stock.neck.lateral_convs)
    assert len(model.attention) == blocks + levels
    for training in (True, False):
        stock.train(training), model.train(training)
        with torch.no_grad():
            for a, b in zip(features(stock), features(model)):
                assert a.equal(b)


def test_every_block_is_used_once_and_where_its_name_says():
    model = build(model_cfg(insert=everywhere('mmattn.ECA'))).eval()
    seen = []
    for key, block in model.attention.items():
        block.register_forward_hook(lambda m, i, o, key=key: seen.append((key, i[0].shape[1])))
    features(model)
    channels = {site.key: site.channels for site in model.attention.claims}
    assert sorted(seen) == sorted(channels.items())
    assert dict(seen)['backbone_layer3_1_residual'] == 256


def test_residual_is_before_the_addition():
    """Against a block written out by hand, for both kinds of residual branch."""
    for depth, last in ((18, 'conv2'), (50, 'conv3')):
        backbone = ResNet(depth)
        backbone.eval()  # returns None, so it cannot be chained
        host = backbone.layer1[0]
        attach(backbone, dict(at='layer1.0.residual', block=dict(type='mmattn.CBAM')))
        block = randomise(backbone.attention['layer1_0_residual']).eval()
        x = torch.randn(1, 64, 9, 7)
        out = host.norm1(host.conv1(x)).relu()
        out = host.norm2(host.conv2(out))
        if last == 'conv3':
            out = host.norm3(host.conv3(out.relu()))
        skip = x if host.downsample is None else host.downsample(x)
        torch.testing.assert_close(host(x), (block(out) + skip).relu())


def test_output_is_after_the_module():
    stock = build(model_cfg())
    model = build(model_cfg(insert=[dict(at='neck.fpn_convs.*', block=dict(type='mmattn.CBAM'))]))
    stock.eval(), model.eval()
    for i, (a, b) in enumerate(zip(features(stock)[:4], features(model))):
        torch.testing.assert_close(model.attention[f'neck_fpn_convs_{i}'](a), b)
        assert not torch.allclose(a, b)


@pytest.mark.parametrize('with_cp', [False, True])
@pytest.mark.parametrize('depth', [18, pytest.param(50, marks=pytest.mark.slow)])
def test_gradients_reach_everything_also_with_checkpointing(depth, with_cp):
    cfg = model_cfg(depth=depth, insert=everywhere(start='paper'), frozen_stages=-1, with_cp=with_cp)
    model = build(cfg).double().train()  # double: recomputation adds gradients in another order
    randomise(model.attention)
    sum(f.square().sum() for f in features(model)).backward()
    grads = {n: p.grad for n, p in model.named_parameters() if n.startswith(('back', 'neck', 'att'))}
    assert all(g is not None and torch.isfinite(g).all() for g in grads.values())
    # Eight small maps of CBAM's hidden layers may be shut; what is never zero is the gate's end.
    assert all(g.abs().sum() > 0 for n, g in grads.items() if 'mlp.3' in n)
    if with_cp:
        plain = build(model_cfg(depth=depth, insert=everywhere(start='paper'), frozen_stages=-1)).double()
        plain.load_state_dict(build(cfg).state_dict())
        randomise(plain.attention)
        sum(f.square().sum() for f in features(plain.train())).backward()
        for name, p in plain.named_parameters():
            if name in grads:
                torch.testing.assert_close(p.grad, grads[name], msg=name)


def test_detach_gives_the_first_model_back():
    for depth in (18, 50):
        cfg = model_cfg(depth=depth)
        model = build(cfg).eval()
        before = {name: (type(m), set(vars(m)), dict(m._forward_hooks)) for name, m in model.named_modules()}
        keys, expected = list(model.state_dict()), features(model)
        attach(model, everywhere(start='paper'))
        assert not features(model)[0].equal(expected[0])
        assert detach(model) is model and type(model) is FasterRCNN
        assert list(model.state_dict()) == keys
        assert {
            name: (type(m), set(vars(m)), dict(m._forward_hooks)) for name, m in model.named_modules()
        } == before
        assert all(a.equal(b) for a, b in zip(features(model), expected))
    with pytest.raises(ValueError, match='has no attention that attach'):
        detach(model)


def test_detach_leaves_plugins_of_the_config_alone():
    plugins = [dict(cfg=dict(type='mmattn.SE'), position='after_conv3')]
    backbone = ResNet(50, plugins=plugins)
    backbone.eval()
    x = torch.randn(1, 3, 64, 64)
    expected = backbone(x)
    attach(backbone, dict(at='layer4.*.residual', block=dict(type='mmattn.CBAM')))
    assert not backbone(x)[3].equal(expected[3])
    detach(backbone)
    assert backbone(x)[3].equal(expected[3])


@pytest.mark.parametrize(
    'duplicate', [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=['deepcopy', 'pickle']
)
@pytest.mark.parametrize('depth', [18, 50])
def test_a_copy_uses_its_own_attention(depth, duplicate):
    model = build(model_cfg(depth=depth, insert=everywhere(start='paper'))).eval()
    randomise(model.attention)
    expected = features(model)
    other = duplicate(model)
    randomise(model.attention, seed=7)
    assert type(other) is type(model)
    assert all(a.equal(b) for a, b in zip(features(other), expected))
    assert not features(model)[0].equal(expected[0])
    detach(other)


def test_attaching_to_a_model_in_half_precision():
    backbone = attach(ResNet(18).bfloat16(), dict(at='layer4', block=dict(type='mmattn.SE')))
    assert {p.dtype for p in backbone.attention.parameters()} == {torch.bfloat16}


def test_sync_bn_conversion_keeps_the_attention():
    """Norms are replaced below a residual branch; the site must not be lost with them."""
    model = build(model_cfg(depth=50, insert=everywhere(start='paper'))).eval()
    randomise(model.attention)
    expected = features(model)
    converted = torch.nn.SyncBatchNorm.convert_sync_batchnorm(model)
    names = {type(m).__name__ for m in converted.modules()}
    assert 'SyncBatchNorm' in names
    back = revert_sync_batchnorm(converted)
    assert all(a.equal(b) for a, b in zip(features(back), expected))


def test_sites_lists_residuals_and_the_neck():
    names = {site.name: site for site in sites(build(model_cfg(depth=50)))}
    assert names['backbone.layer2.3.residual'].channels == 512
    assert names['neck.lateral_convs.0'].channels == 256
    assert names['backbone.layer4'].channels == 2048
    assert 'backbone.bn1' not in names and 'backbone.layer1.0.conv1' not in names


@pytest.mark.parametrize(
    'cfg',
    [
        dict(type='ResNeXt', depth=50, groups=32, base_width=4),
        dict(type='Res2Net', depth=50, scales=4, base_width=26),
        dict(type='ResNeSt', depth=50),
        dict(type='RegNet', arch='regnetx_400mf'),
    ],
    ids=lambda cfg: cfg['type'],
)
def test_relatives_of_resnet_take_attention(cfg):
    torch.manual_seed(0)
    backbone = MODELS.build(dict(cfg, type=f'mmdet.{cfg["type"]}'))
    backbone.eval()
    x = torch.randn(1, 3, 64, 96)
    expected = backbone(x)
    attach(backbone, dict(at='**.residual', block=dict(type='mmattn.CBAM', start='identity')))
    assert sum(isinstance(m, CBAM) for m in backbone.attention.values()) >= 16
    assert all(a.equal(b) for a, b in zip(backbone(x), expected))
    randomise(backbone.attention)
    assert not backbone(x)[0].equal(expected[0])
