"""Attention in models of MMPretrain and MMSegmentation, by the names that MMDetection's models have."""

import subprocess
import sys

import pytest
import torch
from mmdet.models import ResNet
from mmengine.registry import MODELS, DefaultScope

from mmattn import attach, sites
from tests.codebases import codebase

CBAM = dict(at='**.residual', block=dict(type='mmattn.CBAM', start='identity'))
CLASSIFIER = dict(
    type='mmattn.WithAttention',
    detector='mmpretrain.ImageClassifier',
    insert=[dict(at='backbone.layer[2-4].*.residual', block=dict(type='mmattn.SE', start='identity'))],
    backbone=dict(type='ResNet', depth=18, num_stages=4, out_indices=(3,)),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=10, in_channels=512),
)


@pytest.mark.parametrize(
    'package, depth', [('mmpretrain', 18), ('mmpretrain', 50), ('mmseg', 18), ('mmseg', 50)]
)
def test_sites_have_the_names_of_mmdetections_resnet(package, depth):
    models = codebase(f'{package}.models')
    residual = [
        {(site.name, site.channels, site.size) for site in sites(model) if site.part == 'residual'}
        for model in (ResNet(depth), getattr(models, 'backbones', models).ResNet(depth))
    ]
    assert residual[0] == residual[1]


@pytest.mark.parametrize('options', [dict(), dict(with_cp=True), dict(drop_path_rate=0.2)])
@pytest.mark.parametrize('training', [False, True])
def test_a_classifiers_backbone_starts_as_it_was(options, training):
    models = codebase('mmpretrain.models')
    stock, model = (models.ResNet(50, **options) for _ in range(2))
    model.load_state_dict(stock.state_dict())
    attach(model, CBAM)
    stock.train(training), model.train(training)
    x = torch.randn(2, 3, 64, 96).requires_grad_()
    outs = []
    for each in (stock, model):
        torch.manual_seed(1)  # of drop path
        outs.append(each(x)[-1])
    assert outs[0].equal(outs[1])
    outs[1].sum().backward()
    assert all(p.grad is not None for p in model.attention.parameters())


def test_a_classifier_is_built_from_its_prefix_alone():
    codebase('mmpretrain')
    assert DefaultScope.get_current_instance() is None or pytest.skip('another test has set a default scope')
    model = MODELS.build(CLASSIFIER)
    assert type(model).__name__ == 'ImageClassifierWithAttention'
    assert list(model.attention)[0] == 'backbone_layer2_0_residual'
    assert type(model.backbone).__module__.startswith('mmpretrain.')


def test_without_mmpretrain_the_error_names_it():
    code = (
        "import sys; sys.modules['mmpretrain'] = None; from mmengine.registry import MODELS\n"
        "MODELS.build(dict(type='mmattn.WithAttention', detector='mmpretrain.ImageClassifier', insert=[]))"
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.returncode and 'mmpretrain' in done.stderr.splitlines()[-1]


def test_a_neck_that_returns_no_map_is_refused_with_the_reason():
    models = codebase('mmpretrain.models')
    parts = {name: CLASSIFIER[name] for name in ('backbone', 'neck', 'head')}
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = models.build_classifier(dict(type='ImageClassifier', **parts))
    with pytest.raises(
        ValueError, match=r'GlobalAveragePooling returns a tuple of a tensor of shape \(1, 512\), no map'
    ):
        attach(model, dict(at='neck.output', block=dict(type='mmattn.SE')))
