"""What detectors cost: against a paper's table, against real forward passes, and as the tool prints it."""

import csv
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from mmattn import attach
from mmattn.blocks import CBAM
from mmattn.cost.model_cost import attention_of, model_cost
from mmattn.cost.report import by_site, by_stage, cost_report, plot, remarks, render, rows
from mmattn.cost.timing import inference, peak_memory, time_in_turn, training_step
from tests.test_insertion.models import build, model_cfg, narrow

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / 'benchmarks'))
import cost_tables  # noqa: E402

RESIDUAL = dict(at='backbone.layer[1-4].*.residual', block=dict(type='mmattn.CBAM'))
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


@pytest.mark.parametrize('frozen', [-1, 1])
@pytest.mark.parametrize('block', [None, 'mmattn.SE', 'mmattn.CBAM'])
def test_what_is_kept_is_what_a_real_forward_pass_keeps(block, frozen):
    insert = [dict(RESIDUAL, block=dict(type=block))] if block else None
    model = build(narrow(model_cfg('RetinaNet', depth=50, insert=insert, frozen_stages=frozen)))
    counted = model_cost(model, (64, 96)).saved_bytes()
    model.train()
    own = {p.untyped_storage().data_ptr() for p in [*model.parameters(), *model.buffers()]}
    kept = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = (storage.nbytes(), tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        out = model.bbox_head(model.extract_feat(torch.rand(1, 3, 64, 96)))
    assert counted == sum(number for number, _ in kept.values()) and out


def test_nothing_is_left_on_the_model():
    model = build(narrow(model_cfg('FasterRCNN', insert=[RESIDUAL])))
    model.train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    model_cost(model, (64, 96))
    assert all(tensor.equal(before[name]) for name, tensor in model.state_dict().items())
    assert [module.training for module in model.modules()] == modes
    assert all(p.grad is None for p in model.parameters())


def test_attention_is_found_whichever_door_it_came_by():
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
    assert one.ops.by_kind() == other.ops.by_kind()
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


def test_sites_and_stages_add_up():
    model = build(
        narrow(
            model_cfg(
                'RetinaNet', insert=[RESIDUAL, dict(at='neck.fpn_convs.*', block=dict(type='mmattn.SE'))]
            )
        )
    )
    report = cost_report(model, (64, 96))
    cost = report.cost
    for gathered in (by_site(report), by_stage(report)):
        assert sum(each.ops for each in gathered.values()) == cost.attention_ops()
        assert sum(each.parameters for each in gathered.values()) == cost.attention_parameters
        assert sum(each.number for each in gathered.values()) == 13
    stages = by_stage(report)
    assert sum(each.ops + each.rest_ops for each in stages.values()) == cost.ops.total()
    assert {'backbone.layer1', 'backbone.layer4', 'neck', 'bbox_head'} <= set(stages)
    assert len(plot({'it': report}).axes) == 3
    with pytest.raises(ValueError, match='no model has attention: there is nothing to plot'):
        plot({'it': cost_report(build(narrow(model_cfg('RetinaNet'))), (64, 96))})


def test_what_does_not_run_without_data_is_told():
    from mmattn.engine.build_model import build_model

    cost = model_cost(build_model('mmdet::dino/dino-4scale_r50_8xb2-12e_coco.py'), (128, 160), memory=False)
    assert '' in cost.not_run and cost.not_run[''].startswith('RuntimeError: ')


def test_a_report_can_have_nothing_to_compare_with():
    from mmattn.engine.build_model import build_model

    model = build_model('configs/temporal_attention/mask2former_r50-temporal_8xb2-8e_youtubevis2019.py')
    reports = {name: cost_report(model, (64, 96)) for name in ('one', 'other')}
    table = rows(reports)
    assert [row['saved_ratio'] for row in table] == [None, None] and table[0]['attention_parameters'] > 0
    assert any('one: the model is not counted' in remark for remark in remarks(reports)) and render(reports)


def test_functions_are_timed_in_turn():
    calls = []

    def function(name, seconds):
        def run():
            calls.append(name)
            time.sleep(seconds)

        return run

    found = time_in_turn(dict(a=function('a', 0.01), b=function('b', 0.03)), repeats=4, warmup=1, pictures=2)
    assert ''.join(calls) == 'ab' + 'ba' + 'ab' + 'ba' + 'ab'
    assert len(found['a'].seconds) == 4 and found['a'].p10 <= found['a'].median <= found['a'].p90
    assert 2 < found['b'].ratio(found['a']) < 3.5
    assert found['b'].pictures_per_second == pytest.approx(2 / found['b'].median)


def test_peak_memory_is_that_of_the_allocator():
    def function():
        a = torch.empty(1000, 1000)
        b = a + 1
        del a
        return (b * 2).sum().item()

    assert 8e6 <= peak_memory(function) < 8.1e6


@pytest.mark.parametrize('detector', ['RetinaNet', 'FasterRCNN'])
def test_a_step_leaves_the_weights_as_they_are(detector):
    model = build(narrow(model_cfg(detector, insert=[RESIDUAL])))
    before = [p.clone() for p in model.parameters()]
    training_step(model, (64, 96), batch=2)()
    assert all(p.equal(b) for p, b in zip(model.parameters(), before))
    assert all(p.grad is not None for p in model.attention.parameters())
    assert len(inference(model, (64, 96), batch=2)()) == 2


def run_tool(*arguments):
    return subprocess.run(
        [sys.executable, ROOT / 'tools/cost.py', *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )


def test_tool(tmp_path):
    config = 'configs/cbam/retinanet_r18-cbam_fpn_1x_coco.py'
    done = run_tool(
        config, '--baseline', 'plain', '--shape', 128, 160, '--json', '--plot', tmp_path / 'cost.png'
    )
    plain, attended = json.loads(done.stdout)
    assert plain['model'] == 'without attention' and attended['model'] == config
    assert attended['parameters'] - plain['parameters'] == attended['attention_parameters'] == 89_880
    assert plain['attention_operations'] == 0 and attended['saved_ratio'] > 1
    assert len(attended['sites']) == 8 and (tmp_path / 'cost.png').stat().st_size > 10_000
    done = run_tool(config, 'configs/se/retinanet_r18-se_fpn_1x_coco.py', '--shape', 96, '--csv')
    assert [row['model'] for row in csv.DictReader(done.stdout.splitlines())] == [
        config,
        'configs/se/retinanet_r18-se_fpn_1x_coco.py',
    ]


def test_tool_measures():
    done = run_tool(
        'configs/shapes/faster-rcnn_r18-se_fpn_shapes.py',
        '--baseline',
        'plain',
        '--time',
        '--repeats',
        2,
        '--warmup',
        1,
        '--shape',
        96,
        '--sites',
    )
    assert done.returncode == 0, done.stderr
    for text in ('ms inference', 'ms step', 'MiB step', 'backbone.layer4.1.residual', 'cpu, fp32, batch 1'):
        assert text in done.stdout


@pytest.mark.parametrize(
    'arguments, text',
    [
        (['configs/nothing.py'], 'cost.py: no model was built from configs/nothing.py: FileNotFoundError'),
        (
            ['mmdet::retinanet/retinanet_r18_fpn_1x_coco.py', '--baseline', 'plain'],
            'has no attention that attach() put there; give the config without attention as the first one instead',
        ),
        (['a.py', 'a.py'], 'a config is given twice'),
        (['a.py', '--repeats', '1'], '--repeats is at least 2'),
        (['a.py', '--shape', '1', '2', '3'], '--shape takes one positive number or two'),
    ],
)
def test_tool_refuses(arguments, text):
    done = run_tool(*arguments)
    assert done.returncode and text in done.stderr


def test_a_part_of_a_detector_is_counted_too():
    from mmdet.models import ResNet

    backbone = attach(ResNet(18), [dict(at='layer4.*.residual', block=dict(type='mmattn.SE'))])
    assert model_cost(backbone, (64, 96)).attention_ops() > 0


@pytest.mark.parametrize('how', ['aten', 'compiled', 'plain'])
def test_operations_do_not_depend_on_who_computes(monkeypatch, how):
    model = nn.Sequential(nn.Conv2d(3, 16, 3), CBAM(16))
    expected = model_cost(model, (24, 20)).ops.total()
    monkeypatch.setenv('MMATTN_OPS', how)
    assert model_cost(model, (24, 20)).ops.total() == expected > 0
