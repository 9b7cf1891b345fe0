"""Every model of mmdet's configs, and what attention that starts as the identity does to it."""

import json
import os
import sys
import time
from pathlib import Path

import pytest
import torch

from mmattn.insertion import identity

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / 'benchmarks'))
import identity_sweep  # noqa: E402
import mmdet_configs  # noqa: E402

CBAM = dict(type='mmattn.CBAM', start='identity')
# A family each, of the architectures that mmdet has; the smallest that it ships.
QUICK = {
    'ResNet, FPN': 'retinanet/retinanet_r18_fpn_1x_coco.py',
    'ResNet, CTResNetNeck': 'centernet/centernet_r18_8xb16-crop512-140e_coco.py',
    'ResNet, ChannelMapper, DETR': 'detr/detr_r18_8xb2-500e_coco.py',
    'RegNet': 'regnet/retinanet_regnetx-800MF_fpn_1x_coco.py',
    'MobileNetV2, YOLOV3Neck': 'yolo/yolov3_mobilenetv2_8xb24-320-300e_coco.py',
    'MobileNetV2, SSDNeck': 'ssd/ssdlite_mobilenetv2-scratch_8xb24-600e_coco.py',
    'CSPDarknet, YOLOXPAFPN': 'yolox/yolox_tiny_8xb8-300e_coco.py',
    'CSPNeXt, CSPNeXtPAFPN': 'rtmdet/rtmdet_tiny_8xb32-300e_coco.py',
    'PVTv2': 'pvt/retinanet_pvtv2-b0_fpn_1x_coco.py',
    'Swin': 'swin/retinanet_swin-t-p4-w7_fpn_1x_coco.py',
    'ResNet C4, RoI head': 'faster_rcnn/faster-rcnn_r50-caffe_c4-1x_coco.py',
}
LONG = {
    'VGG, SSDNeck': 'ssd/ssd300_coco.py',
    'HRNet, HRFPN': 'hrnet/fcos_hrnetv2p-w18-gn-head_4xb4-1x_coco.py',
    'EfficientNet': 'efficientnet/retinanet_effb3_fpn_8xb4-crop896-1x_coco.py',
    'NASFPN': 'nas_fpn/retinanet_r50_nasfpn_crop640-50e_coco.py',
    'two detectors': 'soft_teacher/soft-teacher_faster-rcnn_r50-caffe_fpn_180k_semi-0.01-coco.py',
}


@pytest.fixture
def sweep(monkeypatch, tmp_path):
    """The script, writing into a folder of its own."""
    monkeypatch.setattr(identity_sweep, 'OUTCOME', tmp_path / 'results/identity_sweep.json')
    monkeypatch.setattr(identity_sweep, 'PAGE', tmp_path / 'supported_detectors.md')
    (tmp_path / 'supported_detectors.md').write_text(
        'before\n{}\nstale\n{}\nafter\n'.format(*identity_sweep.MARKS)
    )
    return identity_sweep


# -- the promise ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    'name',
    [
        *(pytest.param(name, id=family) for family, name in QUICK.items()),
        *(pytest.param(name, id=family, marks=pytest.mark.slow) for family, name in LONG.items()),
    ],
)
def test_identity_in_a_model_of_each_family(sweep, mmdet_scope, name):
    found = sweep.check(mmdet_configs.shipped_model(name))
    assert found['outcome'] == 'identical', found
    assert not found['idle'] and not found['problems']
    assert found['maps'] >= 1 and sum(found['sites'].values()) >= 3


@pytest.mark.slow
def test_identity_in_every_model(sweep, tmp_path):
    """The whole sweep, against the outcome that the page shows."""
    saved = json.loads((ROOT / 'benchmarks/results/identity_sweep.json').read_text())
    outcome = sweep.sweep(mmdet_configs.shipped_configs(), 300, tmp_path / 'partial.jsonl')
    assert {m['outcome'] for m in outcome['models'].values()} <= {
        'identical',
        'no site',
        'does not run',
        'does not build',
    }
    assert {name: entry['outcome'] for _, name, entry in _by_config(sweep, outcome)} == {
        name: entry['outcome'] for _, name, entry in _by_config(sweep, saved)
    }


def _by_config(sweep, outcome):
    return [
        (family, name, entry) for (family, _, entry), name in zip(sweep.rows_of(outcome), outcome['configs'])
    ]


# -- the configs that MMDetection ships -------------------------------------------------------------


def test_configs_are_found_and_loaded_without_anything_to_download():
    names = mmdet_configs.shipped_configs()
    assert len(names) > 500 and not [n for n in names if n.startswith('_base_')]
    cfg = mmdet_configs.shipped_model('faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py')
    assert cfg['backbone']['init_cfg'] is None and cfg['backbone']['depth'] == 50
    assert mmdet_configs.shipped_model('retinanet/retinanet_tta.py') is None
    lad = mmdet_configs.shipped_model('lad/lad_r101-paa-r50_fpn_2xb8_coco_1x.py')
    assert lad['teacher_ckpt'] is None


@pytest.mark.parametrize(
    'other, same',
    [
        ('faster_rcnn/faster-rcnn_r50_fpn_2x_coco.py', True),
        ('pascal_voc/faster-rcnn_r50_fpn_1x_voc0712.py', True),  # 20 classes
        ('faster_rcnn/faster-rcnn_r50_fpn_giou_1x_coco.py', False),  # decodes its boxes
        ('faster_rcnn/faster-rcnn_r101_fpn_1x_coco.py', False),
        ('dcn/faster-rcnn_r50-dconv-c3-c5_fpn_1x_coco.py', False),
        ('gn/mask-rcnn_r50_fpn_gn-all_2x_coco.py', False),
    ],
)
def test_what_counts_as_one_model(other, same):
    first = mmdet_configs.signature(mmdet_configs.shipped_model('faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'))
    assert (mmdet_configs.signature(mmdet_configs.shipped_model(other)) == first) is same


@pytest.mark.parametrize(
    'error, text',
    [
        (
            ImportError("Failed to import custom modules from {'imports': ['mmpretrain.models']}"),
            'needs mmpretrain, which is not installed',
        ),
        (
            RuntimeError('transformers is not installed, please install it by: pip install transformers.'),
            'needs transformers, which is not installed',
        ),
        (
            FileNotFoundError('file "sort/base" does not exist'),
            'inherits from a config that mmdet does not ship',
        ),
        (
            RuntimeError('carafe_forward_impl: implementation for device cpu not found.\n'),
            "mmcv's carafe_forward is for GPUs only",
        ),
        (
            ValueError('Default process group has not been initialized, please make sure to call it.'),
            'has a synchronised norm that needs a process group',
        ),
        (
            KeyError('Nothing is in the registry\nof that name'),
            "KeyError: 'Nothing is in the registry\\nof that name'",
        ),
    ],
)
def test_the_reason_of_a_failure_is_the_same_for_the_same_cause(error, text):
    assert mmdet_configs.failure_reason(error) == text


def test_backbone_and_neck_alone(mmdet_scope):
    cfg = mmdet_configs.shipped_model('retinanet/retinanet_r18_fpn_1x_coco.py')
    cfg['bbox_head']['type'] = 'NeedsSomething'
    with pytest.raises(KeyError):
        mmdet_configs.build_shipped_model(cfg)
    model = mmdet_configs.build_trunks(dict(type='Tracker', detector=cfg))
    assert [name for name, _ in model.named_children()] == ['detector'] and not model.training
    assert len(identity.feature_maps(model, torch.rand(1, 3, 64, 96))) == 5
    assert mmdet_configs.build_trunks(dict(type='Wrapper')) is None


# -- the script -----------------------------------------------------------------------------------


def test_a_crash_and_a_hang_end_one_model_only(sweep, monkeypatch):
    monkeypatch.setattr(sweep, 'check', lambda cfg: os._exit(3))
    found = sweep.check_apart({}, 60)
    assert (found['outcome'], found['reason']) == ('does not run', 'its process ended with code 3')
    monkeypatch.setattr(sweep, 'check', lambda cfg: time.sleep(60))
    found = sweep.check_apart({}, 0.2)
    assert found['reason'] == 'took longer than 0 s' and found['seconds'] < 10
    monkeypatch.setattr(sweep, 'check', lambda cfg: {}['x'])
    found = sweep.check_apart({}, 60)
    assert (found['outcome'], found['problems']) == ('differs', ["KeyError: 'x'"])


def test_sweep_is_resumed_and_writes_its_page(sweep, monkeypatch, capsys):
    names = [
        'retinanet/retinanet_r18_fpn_1x_coco.py',
        'retinanet/retinanet_r18_fpn_1xb8-1x_coco.py',
        'retinanet/retinanet_tta.py',
        'yolof/yolof_r50-c5_8xb8-1x_coco.py',
    ]
    monkeypatch.setattr(mmdet_configs, 'shipped_configs', lambda: names)
    monkeypatch.setattr('sys.argv', ['identity_sweep.py'])

    def result(cfg):
        return dict(outcome='identical', sites=dict(residual=8, output=5), maps=5, idle=[], problems=[])

    calls = []

    def check_apart(cfg, timeout):
        if len(calls) == 1:
            raise KeyboardInterrupt
        calls.append(cfg['type'])
        return dict(result(cfg), seconds=1.5)

    monkeypatch.setattr(sweep, 'check_apart', check_apart)
    with pytest.raises(KeyboardInterrupt):
        sweep.main()
    assert not sweep.OUTCOME.exists()
    monkeypatch.setattr(
        sweep,
        'check_apart',
        lambda cfg, _: (
            calls.append(cfg['type']) or dict(outcome='does not run', reason='no | room', seconds=2.5)
        ),
    )
    sweep.main()
    assert calls == ['RetinaNet', 'YOLOF']  # none twice
    assert '4 configs, 2 distinct models, 1 of them to be checked' in capsys.readouterr().out
    outcome = json.loads(sweep.OUTCOME.read_text())
    assert outcome['configs']['retinanet/retinanet_tta.py'] == dict(outcome='no model')
    assert outcome['seconds'] == 4 and 'torch' in outcome['setting']['versions']
    page = sweep.PAGE.read_text()
    assert page.startswith(f'before\n{sweep.MARKS[0]}\n') and page.endswith(f'{sweep.MARKS[1]}\nafter\n')
    assert 'stale' not in page
    assert '| retinanet | 3 | 1 | 1 | 8 |  |  |  | 5 | 1 no model |' in page
    assert '| yolof | 1 | 1 | 0 |  |  |  |  |  | 1 does not run |' in page
    assert '| does not run | no \\| room | 1 |' in page
    page = page.replace('\n', ' ')
    assert '**1 of 1 compared models are identical.** MMDetection ships 4 configs, of which 3 load' in page
    assert 'there are 2 distinct models. Of the identical ones 1 are whole models (2 configs)' in page
    assert 'They have 13 blocks (8 residual branches, 5 neck outputs)' in page
    assert not list(sweep.OUTCOME.parent.glob('*.partial*'))


def test_the_page_shows_the_saved_outcome(sweep):
    page = (ROOT / 'docs/supported_detectors.md').read_text()
    sweep.PAGE.write_text(page)
    saved = json.loads((ROOT / 'benchmarks/results/identity_sweep.json').read_text())
    sweep.write_page(saved, sweep.PAGE)
    assert sweep.PAGE.read_text() == page
