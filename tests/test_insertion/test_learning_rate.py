"""Which learning rate and weight decay MMEngine gives attention, by `paramwise_cfg`."""

import pytest
import torch
from mmdet.models.backbones import CSPNeXt
from mmdet.models.layers.se_layer import ChannelAttention
from mmengine.hub import get_config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from torch import nn

from mmattn import attach
from tests.test_insertion.models import build, everywhere, features, model_cfg

LR, DECAY = 0.5, 0.25  # products of these with the multipliers below are exact


def settings(model, constructor=None, optimizer='SGD', **paramwise):
    """Learning rate and weight decay of each parameter that trains, by name."""
    cfg = dict(optimizer=dict(type=optimizer, lr=LR, weight_decay=DECAY), paramwise_cfg=paramwise)
    if constructor:
        cfg['constructor'] = constructor
    groups = build_optim_wrapper(model, cfg).optimizer.param_groups
    of = {id(p): (group['lr'], group['weight_decay']) for group in groups for p in group['params']}
    assert sum(len(group['params']) for group in groups) == len(of)
    found = {name: of.pop(id(p)) for name, p in model.named_parameters() if p.requires_grad}
    assert not of
    return found


@pytest.fixture(scope='module')
def model():
    return build(model_cfg(insert=everywhere(start='paper'), frozen_stages=1))


def attention_of(found, part=''):
    own = {name: value for name, value in found.items() if name.startswith(f'attention.{part}')}
    assert own
    return own


def test_a_rate_and_a_decay_for_attention_alone(model):
    found = settings(model, custom_keys={'attention': dict(lr_mult=8.0, decay_mult=0.0)})
    # Also in the stages that are frozen.
    assert set(attention_of(found, 'backbone_layer1')) == {
        f'attention.{name}'
        for name, _ in model.attention.named_parameters()
        if name.startswith('backbone_layer1')
    }
    for name, value in found.items():
        assert value == ((8 * LR, 0.0) if name.startswith('attention.') else (LR, DECAY)), name


def test_one_step_moves_attention_by_its_own_rate(model):
    """Not only in the optimizer's table: w - lr * lr_mult * (grad + decay * decay_mult * w)."""
    wrapper = build_optim_wrapper(
        model.train(),
        dict(
            optimizer=dict(type='SGD', lr=2**-6, weight_decay=DECAY),
            paramwise_cfg=dict(custom_keys={'attention': dict(lr_mult=4.0, decay_mult=2.0)}),
        ),
    )
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    wrapper.backward(sum(f.square().mean() for f in features(model)))
    wrapper.step()
    for name, p in model.named_parameters():
        if p.grad is None:
            continue
        lr, decay = (2**-4, 2 * DECAY) if name.startswith('attention.') else (2**-6, DECAY)
        expected = before[name] - lr * (p.grad + decay * before[name])
        torch.testing.assert_close(p.detach(), expected, msg=name)
    assert model.attention['backbone_layer1_0_residual'].ChannelGate.mlp[3].weight.grad.any()


@pytest.mark.parametrize('multiplier', [0.125, 0.0])
def test_a_backbone_key_reaches_the_attention_in_the_backbone(model, multiplier):
    """As many DETRs have it: 'backbone' is a part of 'attention.backbone_layer1_0_residual'."""
    found = settings(model, custom_keys={'backbone': dict(lr_mult=multiplier)})
    assert set(attention_of(found, 'backbone_').values()) == {(multiplier * LR, DECAY)}
    assert set(attention_of(found, 'neck_').values()) == {(LR, DECAY)}


def test_an_attention_key_wins_over_a_backbone_key(model):
    found = settings(model, custom_keys={'backbone': dict(lr_mult=0.125), 'attention': dict(lr_mult=1.0)})
    assert set(attention_of(found).values()) == {(LR, DECAY)}
    assert {v for n, v in found.items() if n.startswith('backbone.')} == {(0.125 * LR, DECAY)}


def test_keys_for_one_part_or_stage(model):
    found = settings(
        model,
        custom_keys={
            'attention': dict(lr_mult=2.0),
            'attention.neck': dict(lr_mult=4.0),
            'attention.backbone_layer4': dict(lr_mult=8.0),
        },
    )
    for name, (lr, _) in attention_of(found).items():
        assert lr / LR == (4 if '.neck' in name else 8 if '_layer4' in name else 2), name


def test_rules_for_norms_and_biases_reach_attention_until_a_key_does(model):
    rules = dict(norm_decay_mult=0.0, bias_decay_mult=0.5, bias_lr_mult=2.0)

    def expected(name):
        if '.bn.' in name:  # both of a norm's parameters
            return LR, 0.0
        return (2 * LR, 0.5 * DECAY) if name.endswith('.bias') else (LR, DECAY)

    for name, value in attention_of(settings(model, **rules)).items():
        assert value == expected(name), name
    # MMEngine's custom keys replace all other rules.
    found = settings(model, **rules, custom_keys={'attention': dict(lr_mult=4.0)})
    assert set(attention_of(found).values()) == {(4 * LR, DECAY)}
    # The longest key wins, so the norm can have its own again.
    found = settings(
        model,
        **rules,
        custom_keys={
            'attention': dict(lr_mult=4.0),
            'SpatialGate.spatial.bn': dict(lr_mult=4.0, decay_mult=0.0),
        },
    )
    for name, value in attention_of(found).items():
        assert value == (4 * LR, 0.0 if '.bn.' in name else DECAY), name


def test_a_key_that_leaves_the_detectors_own_attention_alone():
    """CSPNeXt (RTMDet) has layers that are called attention too."""

    class Detector(nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = CSPNeXt(deepen_factor=0.1, widen_factor=0.125)

    detector = Detector()
    assert isinstance(detector.backbone.stage1[1].attention, ChannelAttention)
    attach(detector, dict(at='backbone.stem.0', block=dict(type='mmattn.SE')))
    for key, caught in (('attention', True), ('attention.backbone', False)):
        found = settings(detector, custom_keys={key: dict(lr_mult=2.0)})
        assert {lr for lr, _ in attention_of(found).values()} == {2 * LR}
        theirs = [
            lr for name, (lr, _) in found.items() if name.startswith('backbone.') and '.attention.' in name
        ]
        assert set(theirs) == {2 * LR if caught else LR}


def detr():
    """mmdet's DETR, with one layer and a small backbone."""
    cfg = get_config('mmdet::detr/detr_r50_8xb2-150e_coco.py')
    model = cfg.model
    model.backbone.update(depth=18, init_cfg=None)
    model.neck.in_channels = [512]
    model.encoder.num_layers = model.decoder.num_layers = 1
    model.update(
        type='mmattn.WithAttention',
        detector='DETR',
        insert=[
            dict(at=at, block=dict(type='mmattn.SE', start='identity'))
            for at in ('backbone.layer4.*.residual', 'neck.convs.*')
        ],
    )
    return cfg


def test_detr_as_its_config_stands_and_with_the_remedy():
    cfg = detr()
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = build(cfg.model)
        base = cfg.optim_wrapper.optimizer.lr

        def rates(part):
            groups = build_optim_wrapper(model, cfg.optim_wrapper.to_dict()).optimizer.param_groups
            of = {id(p): group['lr'] for group in groups for p in group['params']}
            return {
                round(of[id(p)] / base, 6)
                for n, p in model.named_parameters()
                if n.startswith(part) and id(p) in of
            }

        assert rates('attention.backbone') == {0.1} and rates('attention.neck') == {1.0}
        cfg.optim_wrapper.paramwise_cfg.custom_keys['attention'] = dict(lr_mult=1.0)
        assert rates('attention.') == {1.0} and rates('backbone.') == {0.1}
        assert rates('encoder.') == {1.0}


class ConvNeXt(nn.Module):
    """What mmdet's layer-wise decay asks of one: its name, and those of its parts."""

    def __init__(self):
        super().__init__()
        self.downsample_layers = nn.ModuleList([nn.Conv2d(3, 8, 4, 4)])
        self.stages = nn.ModuleList([nn.Sequential(nn.Conv2d(8, 8, 1))])


@pytest.mark.parametrize('decay_type', ['layer_wise', 'stage_wise'])
def test_layer_wise_decay_gives_attention_the_full_rate(decay_type, mmdet_scope):
    class Detector(nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = ConvNeXt()
            self.bbox_head = nn.Conv2d(8, 4, 1)

    detector = attach(Detector(), dict(at='backbone.stages.0', block=dict(type='mmattn.SE')))
    found = settings(
        detector,
        constructor='LearningRateDecayOptimizerConstructor',
        decay_rate=0.5,
        decay_type=decay_type,
        num_layers=2,
    )
    assert found['backbone.stages.0.0.weight'][0] < LR
    assert {lr for lr, _ in attention_of(found).values()} == {found['bbox_head.weight'][0]} == {LR}
    for name, (_, decay) in attention_of(found).items():  # that constructor's own rule
        assert decay == (0.0 if name.endswith('.bias') else DECAY)
