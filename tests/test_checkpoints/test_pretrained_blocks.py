"""A part's ``init_cfg`` brings the attention that its file has, and says what it did not bring."""

import copy
import logging

import pytest
import torch
from mmdet.models import ResNet
from mmengine.logging import MMLogger
from mmengine.registry import MODELS

from mmattn import attach
from tests.test_blocks.helpers import randomise
from tests.test_insertion.models import model_cfg


def build(insert, **backbone):
    cfg = model_cfg(**backbone)
    cfg.update(detector=cfg.type, type='mmattn.WithAttention', insert=insert)
    return MODELS.build(cfg)


def rule(at='backbone.layer[2-4].*.residual', block='SE', **options):
    return dict(at=at, block=dict(type=f'mmattn.{block}', **options))


@pytest.fixture
def said(caplog):
    caplog.set_level(logging.INFO)
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    yield lambda: caplog.text
    logger.removeHandler(caplog.handler)


def pretrained(tmp_path, *insert, change=lambda state: state):
    """Train a model with attention, and save it."""
    torch.manual_seed(1)
    model = build(list(insert))
    for block in model.attention.values():
        randomise(block)
    path = tmp_path / 'pretrained.pth'
    torch.save(dict(state_dict=change(copy.copy(model.state_dict()))), path)
    return model, dict(type='Pretrained', checkpoint=str(path), prefix='backbone.')


def test_the_usual_way_brings_attention(tmp_path, said):
    source, init_cfg = pretrained(tmp_path, rule())
    model = build([rule(), rule('neck.fpn_convs.*', 'ECA')], init_cfg=init_cfg)
    model.init_weights()
    for key, block in source.attention.items():
        assert all(a.equal(b) for a, b in zip(block.parameters(), model.attention[key].parameters()))
    assert model.backbone.conv1.weight.equal(source.backbone.conv1.weight)
    assert "attention: loaded 6 of 6 blocks in 'backbone' from" in said()
    assert 'NOT LOADED' not in said() and 'starts at random' not in said() and 'IS NOT THAT' not in said()


def pretrained_backbone(tmp_path, prefix):
    """Save a backbone that has the attention itself, alone or in a model."""
    source = attach(ResNet(18), rule('layer[2-4].*.residual'))
    for block in source.attention.values():
        randomise(block)
    path = tmp_path / 'backbone.pth'
    torch.save(dict(state_dict={f'{prefix}{name}': v for name, v in source.state_dict().items()}), path)
    return source, dict(type='Pretrained', checkpoint=str(path), prefix=prefix.rstrip('.') or None)


@pytest.mark.parametrize('prefix', ['backbone.', ''])
def test_attention_of_the_backbone_itself_is_found_too(tmp_path, said, prefix):
    source, init_cfg = pretrained_backbone(tmp_path, prefix)
    model = build([rule()], init_cfg=init_cfg)
    model.init_weights()
    assert 'loaded 6 of 6' in said() and 'IS NOT THAT' not in said()
    for key, block in source.attention.items():
        assert model.attention[f'backbone_{key}'].fc1.weight.equal(block.fc1.weight)


def test_a_file_without_attention_changes_no_start(tmp_path, said):
    def stock(state):
        return {name: value for name, value in state.items() if not name.startswith('attention.')}

    _, init_cfg = pretrained(tmp_path, rule(), change=stock)
    model = build([rule(start='identity')], init_cfg=init_cfg)
    model.init_weights()
    assert not any(block.fc2.weight.any() for block in model.attention.values())
    assert 'blocks in' not in said()


def test_what_found_no_place_is_named(tmp_path, said):
    _, init_cfg = pretrained(tmp_path, rule())
    model = build([rule('backbone.layer3.*.residual')], init_cfg=init_cfg)
    model.init_weights()
    assert 'loaded 2 of 2' in said()
    assert (
        'NOT LOADED' in said() and "'layer2_0_residual' has no site here" in said() and 'and 1 more' in said()
    )


def test_another_block_is_not_loaded_in_part(tmp_path, said):
    _, init_cfg = pretrained(tmp_path, rule())
    model = build([rule(reduction=8, start='identity')], init_cfg=init_cfg)
    model.init_weights()
    assert not any(block.fc2.weight.any() for block in model.attention.values())
    assert 'loaded 0 of 6' in said()
    assert (
        "'backbone.layer2.0.residual' is another block there: fc1.weight is (8, 128, 1, 1), needed" in said()
    )


def test_sites_that_were_not_loaded_still_warn_of_their_random_start(tmp_path, said):
    _, init_cfg = pretrained(tmp_path, rule('backbone.layer2.*.residual'))
    model = build([rule(start='paper')], init_cfg=init_cfg)
    model.init_weights()
    model.train()
    assert "4 block(s), the first at 'backbone.layer3.0.residual'" in said()


@pytest.mark.parametrize('prefix', ['', 'backbone.', None])
def test_weights_of_another_start_are_warned_of(tmp_path, said, prefix):
    """A gate of the identity start is twice that of the paper's for the same weights."""
    if prefix is None:
        _, init_cfg = pretrained(tmp_path, rule())
    else:
        _, init_cfg = pretrained_backbone(tmp_path, prefix)
    model = build([rule(start='identity')], init_cfg=init_cfg)
    model.init_weights()
    assert 'loaded 6 of 6' in said()
    assert 'THE ATTENTION OF THE CHECKPOINT IS NOT THAT OF THE MODEL' in said()
    assert (
        "the blocks differ at 6 sites ('backbone.layer2.0.residual'" in said()
        and "start='identity'" in said()
    )
