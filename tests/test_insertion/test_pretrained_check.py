"""Attention at random on trained weights is warned of."""

import torch
from mmdet.models import ResNet
from mmengine.runner import load_checkpoint
from mmengine.runner.checkpoint import save_checkpoint

from tests.test_insertion.models import build, everywhere, model_cfg


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
