"""Frozen stages: what trains there, and the warning where nothing can (MMDetection's own door).

That attention inserted into frozen stages trains is in test_insertion/test_attention.py.
"""

import copy
import io

import pytest
import torch
from mmdet.models import ResNet
from mmengine.logging import MMLogger
from mmengine.runner import load_checkpoint
from mmengine.runner.checkpoint import save_checkpoint
from torch._subclasses.fake_tensor import FakeTensorMode

from mmattn import attach
from tests.test_insertion.models import build, everywhere, features, model_cfg, narrow

SAID = 'attention is frozen before it was trained'


def plugins(start='paper', block='CBAM', stages=(True, True, True, True)):
    return [dict(cfg=dict(type=f'mmattn.{block}', start=start), stages=stages, position='after_conv3')]


def backbone(seed=0, frozen_stages=1, **options):
    """As the Runner does, up to the loading of weights."""
    torch.manual_seed(seed)
    # Without zero_init_residual, which gives attention zeros until the first step.
    model = ResNet(
        50, plugins=plugins(**options), frozen_stages=frozen_stages, norm_eval=True, zero_init_residual=False
    )
    model.init_weights()
    return model


def said(warnings):
    found = [w for w in warnings if SAID in w]
    warnings.clear()
    return found


@pytest.mark.parametrize('block', ['SE', 'ECA', 'CBAM'])
def test_a_block_frozen_at_random_is_warned_of_when_training_starts(block, warnings):
    model = backbone(block=block)
    model.eval()
    assert not said(warnings)  # as in inference
    model.train()
    found = said(warnings)
    assert len(found) == 3 and len(set(found)) == 1  # one a block of the first stage, all alike
    for remedy in (
        'mmattn.WithAttention',
        'freeze_with_host',
        'stages=(False, True, True, True)',
        'frozen_stages=0',
        "start='identity'",
        'load a checkpoint',
    ):
        assert remedy in found[0]
    model.train()
    assert not said(warnings)  # the next epoch


def test_it_is_printed_once():
    handler = MMLogger.get_current_instance().handlers[0]
    handler.filters[0].seen.clear()  # of an earlier test, perhaps
    printed = io.StringIO()
    before = handler.setStream(printed)
    try:
        backbone().train()
    finally:
        handler.setStream(before)
    assert printed.getvalue().count(SAID) == 1


@pytest.mark.parametrize(
    'options',
    [
        dict(start='identity'),
        dict(frozen_stages=0),
        dict(frozen_stages=-1),
        dict(stages=(False, True, True, True)),
    ],
    ids=str,
)
def test_its_remedies_silence_it(options, warnings):
    backbone(**options).train()
    assert not said(warnings)


def test_insertion_trains_attention_in_a_frozen_stage_unless_asked_to_freeze_it(warnings):
    build(model_cfg(insert=everywhere(start='paper'), frozen_stages=1)).train()
    assert not said(warnings)
    rules = [dict(rule, freeze_with_host=True) for rule in everywhere(start='paper')]
    build(model_cfg(insert=rules, frozen_stages=1)).train()
    assert len(said(warnings)) == 2  # ResNet-18 has two blocks in its first stage
    rules = [dict(rule, freeze_with_host=True) for rule in everywhere(start='identity')]
    build(model_cfg(insert=rules, frozen_stages=1)).train()
    assert not said(warnings)


def test_attention_in_frozen_stages_trains_with_checkpointing():
    """with_cp leaves out what needs no gradient: the first block's input, until attention does."""
    found = []
    for with_cp in (False, True):
        cfg = narrow(model_cfg(insert=everywhere(start='paper'), frozen_stages=1, with_cp=with_cp))
        model = build(cfg).double().train()
        sum(f.sum() for f in features(model)).backward()
        found.append({name: p.grad for name, p in model.attention.named_parameters()})
    assert any(name.startswith('backbone_layer1_0') for name in found[0])
    for name, gradient in found[0].items():
        torch.testing.assert_close(found[1][name], gradient, msg=name)
        assert gradient.any() or not name.endswith(('mlp.3.bias', 'bn.weight')), name


@pytest.mark.parametrize('load', ['load_checkpoint', 'load_state_dict', 'Pretrained', 'Pretrained_backbone'])
def test_no_warning_where_a_checkpoint_gave_it_weights(load, tmp_path, warnings):
    """Also one with the same values, such as the one to resume from."""
    path = str(tmp_path / 'own.pth')
    cfg = model_cfg(depth=50, plugins=plugins(), frozen_stages=1)
    source = build(cfg)
    if load == 'Pretrained':
        save_checkpoint(dict(state_dict=source.state_dict()), path)
        cfg.init_cfg = dict(type='Pretrained', checkpoint=path)
        model = build(cfg)
    elif load == 'Pretrained_backbone':
        save_checkpoint(dict(state_dict=source.backbone.state_dict()), path)
        cfg.backbone.init_cfg = dict(type='Pretrained', checkpoint=path)
        model = build(cfg)
    else:
        model = build(cfg)
        if load == 'load_checkpoint':
            save_checkpoint(dict(state_dict=source.state_dict()), path)
            load_checkpoint(model, path)
        else:
            model.load_state_dict(source.state_dict())
    model.train()
    assert not said(warnings)


def test_a_checkpoint_without_it_does_not_help(tmp_path, warnings):
    path = str(tmp_path / 'resnet50.pth')
    torch.save(ResNet(50).state_dict(), path)
    model = ResNet(50, plugins=plugins(), frozen_stages=1, init_cfg=dict(type='Pretrained', checkpoint=path))
    model.init_weights()
    model.train()
    assert len(said(warnings)) == 3


def test_no_warning_for_a_model_frozen_after_loading_nor_for_its_copies(warnings):
    source = backbone(frozen_stages=-1)
    teacher = backbone(frozen_stages=-1, seed=1)
    teacher.load_state_dict(source.state_dict())
    for model in (teacher, copy.deepcopy(teacher)):
        model.requires_grad_(False).train()
        assert not said(warnings)


def test_no_warning_for_a_mean_teacher(warnings):
    """Frozen by its constructor; MeanTeacherHook gives it the student's weights before training."""
    from mmdet.engine.hooks import MeanTeacherHook

    detector = model_cfg('RetinaNet', depth=50, plugins=plugins(), frozen_stages=0)
    model = build(dict(type='SemiBaseDetector', detector=detector, semi_train_cfg={}, semi_test_cfg={}))
    assert not any(p.requires_grad for p in model.teacher.parameters())
    MeanTeacherHook().momentum_update(model, 1)  # as its before_train does
    model.train()
    assert not said(warnings)
    # The student's own frozen stages are warned of.
    detector.backbone.frozen_stages = 1
    model = build(dict(type='SemiBaseDetector', detector=detector, semi_train_cfg={}, semi_test_cfg={}))
    MeanTeacherHook().momentum_update(model, 1)
    model.train()
    assert len(said(warnings)) == 3


def test_it_survives_half_precision_and_tensors_without_values(warnings):
    backbone().bfloat16().train()
    assert len(said(warnings)) == 3
    with torch.device('meta'):
        ResNet(50, plugins=plugins(), frozen_stages=1).train()
    with FakeTensorMode():
        ResNet(50, plugins=plugins(), frozen_stages=1).train()
    assert not said(warnings)


def test_plugins_in_a_frozen_stage_stay_random_where_inserted_attention_trains():
    """The contrast that docs/frozen.md draws, with its numbers."""
    native = backbone()
    inserted = attach(
        ResNet(50, frozen_stages=1, norm_eval=True, zero_init_residual=False),
        dict(at='**.residual', block=dict(type='mmattn.CBAM')),
    )
    inserted.init_weights()
    native.train(), inserted.train()
    x = torch.randn(2, 3, 64, 64)
    theirs, ours = native.layer1[0].cbam, inserted.attention['layer1_0_residual']
    before = {name: p.clone() for name, p in theirs.state_dict().items()}
    for model in (native, inserted):
        optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
        sum(f.square().mean() for f in model(x)).backward()
        optimizer.step()
    assert all(value.equal(before[name]) for name, value in theirs.state_dict().items())
    assert all(p.grad is None for p in theirs.parameters())
    assert all(p.grad is not None for p in ours.parameters())
    bn = ours.SpatialGate.spatial.bn
    assert bn.num_batches_tracked == 1 and bn.running_mean != 0 and bn.weight != 0
    # In stages that train, plugins train too, but their norms keep their first statistics.
    theirs = native.layer2[0].cbam.SpatialGate.spatial.bn
    assert theirs.weight != 0 and theirs.num_batches_tracked == 0 and theirs.running_mean == 0
