"""Counts of whole detectors: against a paper's table, and without a trace on the model."""

import json
import sys
from pathlib import Path

import pytest
import torch
from mmdet.models import ResNet
from torch import nn

from mmattn import attach
from mmattn.blocks import CBAM
from mmattn.cost import (
    attention_of,
    model_cost,
)
from tests.test_cost.helpers import RESIDUAL
from tests.test_insertion.models import build, model_cfg, narrow

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / 'benchmarks'))
import cost_tables  # noqa: E402

CASES = [
    pytest.param(*key, block, marks=[] if key == ('RetinaNet', 50) else pytest.mark.slow)
    for key, blocks in cost_tables.PAPER.items()
    for block in blocks
]


@pytest.mark.parametrize('detector, depth, block', CASES)
def test_equals_the_decimals_of_eca_nets_table_5(detector, depth, block):
    model = cost_tables.build(detector, depth, block)
    cost = model_cost(model, cost_tables.SIZE, memory=False)
    assert not cost.not_run and not cost.ops.not_counted
    ops, parameters = cost_tables.paper_ops(model, cost), cost.trainable
    if detector == 'Mask R-CNN':
        ops, parameters = cost_tables.as_mask_rcnn_was_counted(model, ops, parameters)
    assert (round(parameters / 1e6, 2), round(ops / 1e9, 2)) == cost_tables.PAPER[detector, depth][block]


def test_the_committed_page_is_of_the_committed_file():
    page = (ROOT / 'docs/cost.md').read_text(encoding='utf-8')
    results = json.loads(cost_tables.RESULTS.read_text())
    assert all(table in page for table in cost_tables.tables(results))


def test_nothing_is_left_on_the_model():
    model = build(narrow(model_cfg('FasterRCNN', insert=[RESIDUAL])))
    model.train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    model_cost(model, (64, 96))
    assert all(tensor.equal(before[name]) for name, tensor in model.state_dict().items())
    assert [module.training for module in model.modules()] == modes
    assert all(p.grad is None for p in model.parameters())


def test_attention_is_found_however_it_was_put_there():
    plugins = [dict(cfg=dict(type='mmattn.SE'), stages=(False, True, True, True), position='after_conv3')]
    native = build(model_cfg('RetinaNet', depth=50, plugins=plugins))
    inserted = build(
        model_cfg(
            'RetinaNet',
            depth=50,
            insert=[dict(at='backbone.layer[2-4].*.residual', block=dict(type='mmattn.SE'))],
        )
    )
    one, other = (model_cost(model, (64, 96)) for model in (native, inserted))
    assert len(one.attention) == len(other.attention) == 13
    assert one.attention_parameters == other.attention_parameters
    assert one.attention_ops() == other.attention_ops() > 0
    assert one.ops.by_category() == other.ops.by_category()
    composed = build(
        narrow(
            model_cfg(
                'RetinaNet',
                insert=[
                    dict(
                        at='backbone.layer4',
                        block=dict(
                            type='mmattn.Compose', blocks=[dict(type='mmattn.SE'), dict(type='mmattn.ECA')]
                        ),
                    )
                ],
            )
        )
    )
    assert [path for path, _ in attention_of(composed)] == ['attention.backbone_layer4']


def test_what_does_not_run_without_data_is_reported():
    from mmattn.engine.config_model import build_model

    cost = model_cost(build_model('mmdet::dino/dino-4scale_r50_8xb2-12e_coco.py'), (128, 160), memory=False)
    assert '' in cost.not_run and cost.not_run[''].startswith('RuntimeError: ')


def test_a_part_of_a_detector_is_counted_too():
    from mmdet.models import ResNet

    backbone = attach(ResNet(18), [dict(at='layer4.*.residual', block=dict(type='mmattn.SE'))])
    assert model_cost(backbone, (64, 96)).attention_ops() > 0


@pytest.mark.parametrize('backend', ['aten', 'cpu', 'plain'])
def test_operations_do_not_depend_on_the_backend(monkeypatch, backend):
    model = nn.Sequential(nn.Conv2d(3, 16, 3), CBAM(16))
    expected = model_cost(model, (24, 20)).ops.total()
    monkeypatch.setenv('MMATTN_OPS', backend)
    assert model_cost(model, (24, 20)).ops.total() == expected > 0


@pytest.mark.parametrize(
    'block, most',
    [
        ('CBAM', 1.01),
        pytest.param('SE', 1.01, marks=pytest.mark.slow),
        pytest.param('SimAM', 99, marks=pytest.mark.slow),
    ],
)
def test_the_tail_of_a_residual_block_is_counted_as_one_where_it_is(block, most, monkeypatch):
    """What is counted on fake tensors is what is kept by real ones; see test_residual_hosts."""
    from tests.test_insertion.test_residual_hosts import kept

    saved = {}
    for name in (None, block):
        for mode in ('auto', 'off'):
            monkeypatch.setenv('MMATTN_TAIL', mode)
            model = ResNet(50, norm_eval=True, frozen_stages=1)
            if name:
                rule = dict(at='layer[2-4].*.residual', block=dict(type=f'mmattn.{name}', start='identity'))
                attach(model, rule)
            saved[name, mode] = model_cost(model, (480, 800)).saved_bytes()
            if name and mode == 'auto':
                model.train()
                real = kept(model, torch.randn(1, 3, 480, 800))
                assert abs(real / saved[name, mode] - 1) < 0.002
    ratio = {mode: saved[block, mode] / saved[None, mode] for mode in ('auto', 'off')}
    assert ratio['auto'] < most and ratio['off'] > 1.2
