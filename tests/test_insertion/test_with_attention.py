"""The two ways in by config: WithAttention, and mmdet's own plugins."""

import subprocess
import sys

import pytest
import torch
from mmdet.models import ResNet
from mmengine import Config
from mmengine.registry import MODELS
from torch import nn

from mmattn import attach, detach
from mmattn.insertion.spec import rules_of
from tests.test_insertion.models import build, features, model_cfg


def plugins(block, **options):
    return [
        dict(
            cfg=dict(type=f'mmattn.{block}', **options),
            stages=(False, True, True, True),
            position='after_conv3',
        )
    ]


@pytest.mark.parametrize('block', ['SE', 'ECA', 'CBAM'])
def test_plugins_start_as_the_identity_and_load_a_stock_checkpoint(block):
    torch.manual_seed(0)
    stock = build(model_cfg(depth=50)).eval()
    model = build(model_cfg(depth=50, plugins=plugins(block, start='identity'))).eval()
    found = model.load_state_dict(stock.state_dict(), strict=False)
    assert not found.unexpected_keys
    assert all(f'.{block.lower()}.' in key for key in found.missing_keys)
    assert any(key.startswith(f'backbone.layer2.0.{block.lower()}.') for key in found.missing_keys)
    assert all(a.equal(b) for a, b in zip(features(stock), features(model)))


def test_plugins_keep_their_start_when_resnet_is_initialised_from_scratch():
    model = ResNet(50, plugins=plugins('SE', start='identity'))
    model.init_weights()
    assert model.layer2[0].se.fc2.weight.abs().max() == 0


def test_an_unknown_block_among_plugins_is_named():
    with pytest.raises(KeyError, match="'mmattn.CBAN' is not registered; did you mean 'mmattn.CBAM'"):
        ResNet(50, plugins=plugins('CBAN'))


def test_a_config_needs_no_custom_imports():
    """In a process that has not imported this package: the scope alone finds it."""
    code = (
        'from mmengine.hub import get_config; from mmengine.registry import MODELS, '
        "init_default_scope; import sys; init_default_scope('mmdet'); "
        "cfg = get_config('mmdet::retinanet/retinanet_r18_fpn_1x_coco.py'); "
        "cfg.model.update(type='mmattn.WithAttention', detector='RetinaNet', insert=[dict("
        "at='neck.fpn_convs.*', block=dict(type='mmattn.ECA'))]); "
        "assert 'mmattn' not in sys.modules; model = MODELS.build(cfg.model); "
        'print(type(model).__name__, *model.attention)'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert 'RetinaNetWithAttention neck_fpn_convs_0 neck_fpn_convs_1' in done.stdout


def test_without_a_default_scope():
    code = (
        'from mmengine.hub import get_config; from mmengine.registry import MODELS; '
        "cfg = get_config('mmdet::retinanet/retinanet_r18_fpn_1x_coco.py').model; "
        "cfg = cfg.to_dict(); cfg.pop('_scope_', None); cfg.update(type='mmattn.WithAttention', "
        "detector='RetinaNet', insert=[dict(at='neck.fpn_convs.*', "
        "block=dict(type='mmattn.ECA'))]); print(type(MODELS.build(cfg)).__name__)"
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.returncode == 0 and 'RetinaNetWithAttention' in done.stdout, done.stderr


def test_detector_must_be_a_type():
    with pytest.raises(TypeError, match="give 'detector', the type of the model without attention"):
        MODELS.build(dict(type='mmattn.WithAttention', detector=dict(type='RetinaNet'), insert=[]))


@pytest.mark.parametrize(
    'config, error, text',
    [
        (dict(insert=[]), TypeError, "give 'detector', the type of the model without attention.*Got nothing"),
        (dict(detector='FasterRCNN'), TypeError, "give 'insert', a list of rules.*Got nothing$"),
        (dict(detector='FasterRCNN', insrt=[]), TypeError, "give 'insert', .*Got nothing, but 'insrt'$"),
        (dict(detector='mmdet.', insert=[]), TypeError, "give 'detector', .* Got 'mmdet.'"),
        (
            dict(detector='mmattn.WithAttention', insert=[]),
            ValueError,
            "detector='mmattn.WithAttention' has attention already: give the detector itself",
        ),
    ],
)
def test_what_with_attention_needs(config, error, text):
    with pytest.raises(error, match=text):
        MODELS.build(dict(type='mmattn.WithAttention', **config))


def test_blocks_of_blocks_survive_plugins_insertion_and_the_spec():
    """Compose and External: nested configs, dumped, read and inserted again."""
    halves = dict(
        type='mmattn.Compose',
        how='parallel',
        start='identity',
        blocks=[dict(type='mmattn.SpatialAttention'), dict(type='mmattn.ChannelAttention', reduction=8)],
    )
    norm = dict(
        type='mmattn.External',
        channels='num_channels',
        start='identity',
        module=dict(type='torch.nn.GroupNorm', num_groups=dict(of_channels=1 / 32)),
    )
    rules = [dict(at='layer3.*.residual', block=halves), dict(at='layer4', block=norm)]
    rules = Config.fromstring(Config(dict(rules=rules)).dump(), '.py').rules
    torch.manual_seed(0)
    stock = MODELS.build(dict(type='mmdet.ResNet', depth=18))
    stock.eval()
    x = torch.randn(1, 3, 64, 96)
    expected = stock(x)
    model = attach(stock, rules)
    assert all(a.equal(b) for a, b in zip(model(x), expected))
    assert model.attention['layer4'].module.num_groups == 16
    spec = model.attention.spec
    assert attach(detach(model), rules_of(spec)).attention.spec == spec
    backbone = MODELS.build(
        dict(
            type='mmdet.ResNet',
            depth=50,
            plugins=[dict(cfg=halves, stages=(False, False, True, True), position='after_conv3')],
        )
    )
    assert any(type(m).__name__ == 'Compose' for m in backbone.modules())


def test_a_block_of_another_package():
    """mmcv's ContextBlock, which adds, starts as the identity and is named by its own options."""
    stock = build(model_cfg()).eval()
    insert = [dict(at='backbone.layer[3-4].*.residual', block=dict(type='ContextBlock', ratio=1 / 16))]
    model = build(model_cfg(insert=insert)).eval()
    model.load_state_dict(stock.state_dict(), strict=False)
    assert {type(block).__name__ for block in model.attention.values()} == {'ContextBlock'}
    assert all(a.equal(b) for a, b in zip(features(stock), features(model)))
    assert 'ContextBlock' in str(model.attention.spec)


def test_a_model_with_a_setting_called_detector_is_named_by_model():
    """As video models have it."""

    class Tracker(nn.Module):
        def __init__(self, detector, speed):
            super().__init__()
            self.detector, self.speed = ResNet(**detector), speed

    model = MODELS.build(
        dict(
            type='mmattn.WithAttention',
            model=Tracker,
            detector=dict(depth=18),
            speed=3,
            insert=[dict(at='detector.layer4.*.residual', block=dict(type='mmattn.SE'))],
        )
    )
    assert isinstance(model, Tracker) and model.speed == 3
    assert list(model.attention) == ['detector_layer4_0_residual', 'detector_layer4_1_residual']


def test_it_works_in_a_pure_python_config(tmp_path):
    """Types are classes there; a dumped config has their names."""
    (tmp_path / 'base.py').write_text(
        'from mmdet.models import FPN, ResNet, RetinaNet, RetinaHead\n'
        'model = dict(type=RetinaNet, backbone=dict(type=ResNet, depth=18), neck=dict(\n'
        '    type=FPN, in_channels=[64, 128, 256, 512], out_channels=8, num_outs=5), bbox_head=dict(\n'
        '    type=RetinaHead, num_classes=2, in_channels=8))\n'
    )
    (tmp_path / 'config.py').write_text(
        'from mmengine.config import read_base\n'
        'with read_base():\n'
        '    from .base import *\n'
        'from mmattn.blocks import SE\n'
        'from mmattn.insertion import WithAttention\n'
        'model.update(type=WithAttention, detector=model.type, insert=[\n'
        "    dict(at='backbone.layer4.*.residual', block=dict(type=SE, start='identity'))])\n"
    )
    cfg = Config.fromfile(tmp_path / 'config.py')
    cfg.dump(tmp_path / 'dumped.py')
    for each in (cfg, Config.fromfile(tmp_path / 'dumped.py')):
        model = MODELS.build(each.model)
        assert type(model).__name__ == 'RetinaNetWithAttention' and len(model.attention) == 2
