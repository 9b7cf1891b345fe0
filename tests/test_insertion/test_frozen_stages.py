"""The frozen stages through which gradients of attention pass, in backbones of several makes."""

import pytest
import torch
from mmdet.models import CSPDarknet, MobileNetV2, ResNet, SwinTransformer
from mmdet.models.backbones import SSDVGG

from mmattn import attach
from mmattn.insertion.frozen_stages import frozen_stages
from mmattn.insertion.recompute import RecomputedStage


def found(model, *at, **options):
    attach(model, [dict(at=list(at), block=dict(type='mmattn.SE', reduction=2), **options)], recompute=False)
    return {stage.path: len(stage.keys) for stage in frozen_stages(model)}


@pytest.mark.parametrize(
    'at, frozen, expected',
    [
        (['layer[1-4].*.residual'], 1, dict(layer1=2)),
        (['layer[1-4].*.residual'], 2, dict(layer1=2, layer2=2)),
        (['layer[1-4].*.residual'], 0, dict()),
        (['layer[1-4].*.residual'], -1, dict()),
        (['layer[2-4].*.residual'], 1, dict()),
        (['layer1'], 1, dict()),
        (['layer1'], 2, dict(layer2=0)),
        (['relu'], 1, dict(layer1=0)),
    ],
    ids=str,
)
def test_in_a_resnet(at, frozen, expected):
    assert found(ResNet(18, frozen_stages=frozen), *at) == expected


def test_attention_that_is_frozen_sends_no_gradients():
    assert found(ResNet(18, frozen_stages=1), 'layer1.*.residual', freeze_with_host=True) == {}


SMALL = dict(embed_dims=12, depths=(2, 2, 2, 2), num_heads=(1, 1, 1, 1), window_size=4)


@pytest.mark.parametrize(
    'backbone, at, expected',
    [
        (
            lambda: CSPDarknet(widen_factor=0.25, deepen_factor=0.33, frozen_stages=1),
            '**.residual',
            {'stage1'},
        ),
        (lambda: MobileNetV2(widen_factor=0.25, frozen_stages=1), '**.residual', {'layer1'}),
        (lambda: MobileNetV2(widen_factor=0.25, frozen_stages=2), '**.residual', {'layer1', 'layer2'}),
        (
            lambda: SwinTransformer(frozen_stages=1, **SMALL),
            'patch_embed.projection',
            {'patch_embed', 'stages.0'},
        ),
        (lambda: SSDVGG(11, out_indices=(3, 4), out_feature_indices=(7, 9)), 'features.3', set()),
    ],
    ids=['csp-darknet', 'mobilenet-1', 'mobilenet-2', 'swin', 'vgg'],
)
def test_in_other_backbones(backbone, at, expected):
    torch.manual_seed(0)
    plain, model = backbone(), backbone()
    model.load_state_dict(plain.state_dict())
    block = dict(type='mmattn.SE', reduction=2)
    attach(plain, [dict(at=at, block=block)], recompute=False)
    attach(model, [dict(at=at, block=block)])
    plain.train(), model.train()  # most backbones freeze their stages here, not before
    assert {stage.path for stage in frozen_stages(model)} == expected
    model.attention.load_state_dict(plain.attention.state_dict())
    assert all(isinstance(model.get_submodule(path), RecomputedStage) for path in expected)
    for each in (plain, model):
        torch.manual_seed(0)
        sum(f.square().mean() for f in each(torch.randn(2, 3, 64, 96))).backward()
    for name, parameter in plain.attention.named_parameters():
        assert parameter.grad.any() and model.attention.get_parameter(name).grad.equal(parameter.grad), name
