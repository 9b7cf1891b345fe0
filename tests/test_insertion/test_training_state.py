"""Initialisation, frozen stages, random numbers, checkpoints."""

import pytest
import torch
from mmdet.models import FPN, ResNet
from mmengine.runner import load_checkpoint
from mmengine.runner.checkpoint import save_checkpoint

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


def test_global_random_state_is_untouched_and_seeds_attention():
    torch.manual_seed(3)
    backbone, expected = ResNet(18), torch.rand(4)
    torch.manual_seed(3)
    backbone = ResNet(18)
    attach(backbone, dict(at='**.residual', block=dict(type='mmattn.SE')))
    assert torch.rand(4).equal(expected)

    def weights(seed):
        torch.manual_seed(seed)
        model = attach(ResNet(18), dict(at='**.residual', block=dict(type='mmattn.SE')))
        return model.attention['layer4_0_residual'].fc1.weight, model.attention[
            'layer4_1_residual'
        ].fc1.weight

    first, second = weights(3)
    assert not first.equal(second), 'two sites of one shape must differ'
    assert first.equal(weights(3)[0]) and not first.equal(weights(4)[0])


def test_stock_and_attended_checkpoints_load_into_each_other(tmp_path):
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


def test_random_gates_on_trained_weights_are_warned_of_once(tmp_path, warnings):
    path = str(tmp_path / 'stock.pth')
    save_checkpoint(dict(state_dict=build(model_cfg()).state_dict()), path)
    model = build(model_cfg(insert=everywhere(start='paper')))
    assert not [w for w in warnings if 'attention starts at random' in w]
    load_checkpoint(model, path)
    load_checkpoint(model, path)
    mine = [w for w in warnings if 'attention starts at random' in w]
    assert len(mine) == 1 and "Write start='identity'" in mine[0]
    assert "the first at 'backbone.layer1.0.residual'" in mine[0]


def test_no_warning_where_there_is_nothing_to_warn_of(tmp_path, warnings):
    stock, own = str(tmp_path / 'stock.pth'), str(tmp_path / 'own.pth')
    save_checkpoint(dict(state_dict=build(model_cfg()).state_dict()), stock)
    model = build(model_cfg(insert=everywhere(start='paper')))
    save_checkpoint(dict(state_dict=model.state_dict()), own)
    load_checkpoint(build(model_cfg(insert=everywhere(start='paper'))), own)
    load_checkpoint(build(model_cfg(insert=everywhere(start='identity'))), stock)
    # As published it is an identity.
    load_checkpoint(build(model_cfg(insert=everywhere('mmattn.GCT', start='paper'))), stock)
    assert not [w for w in warnings if 'attention starts at random' in w]


def test_random_gates_on_a_pretrained_backbone_are_warned_of(tmp_path, warnings):
    path, own = str(tmp_path / 'resnet18.pth'), str(tmp_path / 'own.pth')
    torch.save(ResNet(18).state_dict(), path)

    def said(rules, load=None):
        warnings.clear()
        cfg = model_cfg(insert=rules)
        cfg.backbone.init_cfg = dict(type='Pretrained', checkpoint=path)
        model = build(cfg)
        if load:
            load_checkpoint(model, load)
        model.train()
        save_checkpoint(dict(state_dict=model.state_dict()), own)
        return [w for w in warnings if 'attention starts at random' in w]

    assert not said(everywhere(start='identity'))
    assert len(said(everywhere(start='paper'))) == 1
    # The Runner loads what it resumes from after init_weights: then nothing is random.
    assert not said(everywhere(start='paper'), load=own)
    # A neck that is new has nothing to lose.
    assert not said(everywhere(start='paper')[1:])


def test_a_checkpoint_that_lacks_some_sites_is_warned_of(tmp_path, warnings):
    path = str(tmp_path / 'backbone_only.pth')
    rules = everywhere(start='paper')
    save_checkpoint(dict(state_dict=build(model_cfg(insert=rules[:1])).state_dict()), path)
    load_checkpoint(build(model_cfg(insert=rules)), path)
    mine = [w for w in warnings if 'attention starts at random' in w]
    assert len(mine) == 1 and "the first at 'neck.lateral_convs.0'" in mine[0]


def test_pretrained_weights_of_the_whole_model_bring_its_attention(tmp_path):
    path = str(tmp_path / 'own.pth')
    source = build(model_cfg(insert=everywhere(start='paper')), seed=1)
    save_checkpoint(dict(state_dict=source.state_dict()), path)
    cfg = model_cfg(insert=everywhere(start='paper'))
    cfg.init_cfg = dict(type='Pretrained', checkpoint=path)
    model = build(cfg, seed=2)
    assert all(v.equal(model.state_dict()[k]) for k, v in source.state_dict().items())


def test_norm_eval_of_an_attended_backbone_does_not_reach_attention():
    backbone = attach(ResNet(18, norm_eval=True), dict(at='**.residual', block=CBAM))
    assert backbone.train() is backbone
    assert not backbone.bn1.training
    assert all(b.SpatialGate.spatial.bn.training for b in backbone.attention.values())
