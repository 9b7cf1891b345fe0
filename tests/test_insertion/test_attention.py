"""Initialisation, frozen stages, random numbers, checkpoints."""

import pytest
import torch
from mmdet.models import FPN, ResNet

from mmattn import attach
from tests.test_insertion.models import build, everywhere, features, model_cfg

CBAM = dict(type='mmattn.CBAM', start='identity')


def test_attention_in_frozen_stages_trains():
    model = build(
        model_cfg(depth=50, insert=everywhere(start='paper'), frozen_stages=1, norm_eval=True)
    ).train()
    assert not any(p.requires_grad for p in model.backbone.layer1.parameters())
    blocks = [b for key, b in model.attention.items() if key.startswith('backbone_layer1')]
    assert len(blocks) == 3
    sum(f.sum() for f in features(model)).backward()
    for block in blocks:
        assert all(p.requires_grad for p in block.parameters())
        assert block.SpatialGate.spatial.bn.weight.grad.abs() > 0
        assert block.SpatialGate.spatial.bn.num_batches_tracked == 1
    assert model.backbone.layer2[0].bn1.num_batches_tracked == 0


def test_freeze_with_host_follows_frozen_stages():
    rules = [dict(rule, freeze_with_host=True) for rule in everywhere(start='paper')]
    model = build(model_cfg(depth=50, insert=rules, frozen_stages=1)).train()
    for key, block in model.attention.items():
        frozen = key.startswith('backbone_layer1')
        assert all(p.requires_grad is not frozen for p in block.parameters()), key
        assert block.SpatialGate.spatial.bn.training is not frozen


@pytest.mark.parametrize('start', ['paper', 'identity'])
def test_no_parents_init_reaches_attention(start):
    """FPN's Xavier and, from scratch, ResNet's Kaiming hit every convolution below them."""
    model = build(model_cfg(depth=50, insert=everywhere(start=start), frozen_stages=-1))
    for block in model.attention.values():
        bn = block.SpatialGate.spatial.bn
        assert bn.weight == 0 and bn.bias == 0
        last = block.ChannelGate.mlp[3].weight
        bound = last.shape[1] ** -0.5  # of PyTorch's Linear
        assert (last.abs().max() == 0) if start == 'identity' else (0 < last.abs().max() <= bound)


@pytest.mark.parametrize(
    'pattern, model', [('layer4.*.residual', lambda: ResNet(18)), ('fpn_convs.*', lambda: FPN([8, 8], 8, 2))]
)
def test_a_part_of_a_detector_keeps_its_init_too(pattern, model):
    torch.manual_seed(1)
    stock = model()
    torch.manual_seed(1)
    with_attention = attach(model(), dict(at=pattern, block=dict(type='mmattn.SE', start='paper')))
    torch.manual_seed(2)
    stock.init_weights()
    torch.manual_seed(2)
    with_attention.init_weights()
    for key, value in stock.state_dict().items():
        assert with_attention.state_dict()[key].equal(value), key


def test_checkpoints_with_and_without_attention_load_into_each_other(tmp_path):
    stock, model = build(model_cfg(), seed=1), build(model_cfg(insert=everywhere()), seed=2)
    found = model.load_state_dict(stock.state_dict(), strict=False)
    assert not found.unexpected_keys
    missing = {'attention.' + name for name, _ in model.attention.named_parameters()}
    assert missing <= set(found.missing_keys)
    assert all(k.startswith('attention.') for k in found.missing_keys)
    stock.eval(), model.eval()
    assert all(a.equal(b) for a, b in zip(features(stock), features(model)))
    found = stock.load_state_dict(model.state_dict(), strict=False)
    assert not found.missing_keys
    assert all(k.startswith('attention.') for k in found.unexpected_keys)


def test_norm_eval_of_the_backbone_does_not_reach_attention():
    backbone = attach(ResNet(18, norm_eval=True), dict(at='**.residual', block=CBAM))
    assert backbone.train() is backbone
    assert not backbone.bn1.training
    assert all(b.SpatialGate.spatial.bn.training for b in backbone.attention.values())
