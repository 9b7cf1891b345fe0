"""The studies of configs/studies are whole: all their variants build."""

import subprocess
from pathlib import Path

import pytest
import torch
from mmengine import Config
from mmengine.runner import EpochBasedTrainLoop
from mmengine.runner.utils import calc_dynamic_intervals

from mmattn.pruning import RANKINGS
from mmattn.study import config as study_config
from mmattn.study.config import read_study
from mmattn.study.variant_config import build_detector, variant_config

CONFIGS = Path(__file__).parents[2] / 'configs'
STUDIES = CONFIGS / 'studies'
SHOWN = {
    'pretrained_start': ['plain', 'capacity', 'cbam_paper', 'cbam_identity', 'se_paper', 'se_identity'],
    'pretrained_start_early': ['plain', 'cbam_paper', 'cbam_identity'],
    'pretrain_chain': ['scratch', 'pretrained'],
    'pretrained_start_neck': ['plain', 'capacity', 'cbam_paper', 'cbam_identity'],
    'shapes_attention': [
        *('plain', 'static_gate', 'capacity', 'se_paper', 'se_identity'),
        *('eca_paper', 'eca_identity', 'cbam_paper', 'cbam_identity'),
    ],
    'smallest': ['plain', 'cbam'],
    'distillation_shapes': ['plain', 'cbam', 'plain_by_cbam', 'cbam_by_plain', 'plain_by_plain'],
    'pruning_folder': ['magnitude', 'gates', 'random'],
    'pruning_shapes': ['magnitude', 'gates', 'random'],
    'coco_r50_1x': ['plain', 'se', 'eca', 'cbam'],
    'coco_retinanet_r50_1x': ['plain', 'se', 'eca', 'cbam'],
}
SEARCHES = ['search_shapes']
QUICK = ('smallest', 'pretrained_start', 'pretrain_chain', 'pruning_shapes')
SEEDS = dict(
    smallest=3,
    pretrain_chain=3,
    coco_r50_1x=3,
    coco_retinanet_r50_1x=3,
    pretrained_start_early=4,
)
PRUNED = dict(
    pruning_shapes=CONFIGS / 'shapes/faster-rcnn_r18-se_fpn_shapes.py',
    pruning_folder=STUDIES / '_base_/retinanet_mobilenet-v2-se_fpn_320_folder.py',
)
TEACHERS = ('gfl_r18_fpn_shapes', 'gfl_r18-cbam_fpn_shapes')


def test_all_are_listed():
    assert sorted([*SHOWN, *SEARCHES]) == sorted(path.stem for path in STUDIES.glob('*.py'))


def test_the_pretrained_study_is_evaluated_after_epochs_1_3_6_and_12(squares, monkeypatch):
    monkeypatch.setenv('MMATTN_DATA_ROOT', str(squares))
    cfg = Config.fromfile(STUDIES / '_base_/retinanet_mobilenet-v2_fpn_320_folder.py')
    loop = EpochBasedTrainLoop.__new__(EpochBasedTrainLoop)
    loop.dynamic_milestones, loop.dynamic_intervals = calc_dynamic_intervals(
        cfg.train_cfg.val_interval, cfg.train_cfg.dynamic_intervals
    )
    evaluated = []
    for loop._epoch in range(1, cfg.train_cfg.max_epochs + 1):
        loop._decide_current_val_interval()
        if loop._epoch % loop.val_interval == 0:
            evaluated.append(loop._epoch)
    assert evaluated == [1, 3, 6, 12]


@pytest.fixture
def made_before(tmp_path, monkeypatch):
    """What the commands at the head of a study make: pruned detectors, teachers."""

    def make(name):
        monkeypatch.chdir(tmp_path)
        for rank in RANKINGS if name in PRUNED else ():
            file = tmp_path / rank / f'{PRUNED[name].stem}_pruned.py'
            file.parent.mkdir()
            file.write_text(f'_base_ = {str(PRUNED[name])!r}\n')
            monkeypatch.setenv('MMATTN_PRUNED', str(tmp_path))
        for teacher in TEACHERS if name.startswith('distillation') else ():
            model = build_detector(Config.fromfile(CONFIGS / f'shapes/{teacher}.py'))
            file = tmp_path / f'work_dirs/{teacher}/iter_1000.pth'
            file.parent.mkdir(parents=True)
            torch.save(dict(state_dict=model.state_dict()), file)

    return make


@pytest.mark.parametrize(
    'name', [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in SHOWN]
)
def test_every_variant_builds(name, squares, monkeypatch, made_before):
    made_before(name)
    monkeypatch.delenv('MMATTN_DATA_ROOT', raising=False)
    monkeypatch.setattr(study_config, '_check_data_and_weights', lambda variants: None)
    data = str(squares) if name.startswith(('pretrain', 'pruning_folder')) else None
    study = read_study(str(STUDIES / f'{name}.py'), data)
    by_name = {each.name: each for each in study.variants}
    assert list(by_name) == SHOWN[name] and study.control == SHOWN[name][0]
    assert len(study.seeds) == SEEDS.get(name, 5)
    blocks = {each.name: each.attention for each in study.variants}
    if name == 'pretrained_start_neck':
        assert blocks['cbam_identity'] == blocks['cbam_paper'] > 0
        assert blocks['capacity'] == pytest.approx(blocks['cbam_paper'], rel=0.05)
        rules = [each.config.model.insert[0].at for each in study.variants if each.role == 'variant']
        assert rules == ['neck.output'] * 2
    elif 'capacity' in blocks:
        assert blocks['capacity'] == blocks['se_identity'] == blocks['se_paper'] > 0
    if name == 'shapes_attention':
        assert [note.split(':')[0] for note in study.notes] == [
            f'There is no capacity control of eca_{start}' for start in ('paper', 'identity')
        ]
    if name == 'coco_retinanet_r50_1x':
        models = [each.config.model for each in study.variants]
        assert {model.get('detector', model.type) for model in models} == {'RetinaNet'}


@pytest.mark.parametrize('name', SEARCHES)
def test_every_choice_of_a_search_builds(name, monkeypatch):
    from mmattn.study.asked import read_asked
    from mmattn.study.search.settings import read_search
    from mmattn.study.search.space import cover

    monkeypatch.delenv('MMATTN_DATA_ROOT', raising=False)
    asked = read_asked(str(STUDIES / f'{name}.py'))
    variants = cover(read_search(name, asked).variant)
    assert len(variants) > 3
    for variant in variants:
        assert build_detector(variant_config(asked, variant, str(STUDIES))).attention


def test_the_script_of_coco_runs_both_studies_and_says_what_it_takes(tmp_path):
    script = STUDIES / 'coco_r50_1x.sh'
    done = subprocess.run(['bash', script], capture_output=True, text=True)
    assert done.returncode == 2 and 'COCO_FOLDER [options of tools/study.py run]' in done.stderr
    (tmp_path / 'python').write_text('#!/bin/sh\necho "$@"\nexit $CODE\n')
    (tmp_path / 'python').chmod(0o755)
    for code, count in ((0, 2), (1, 2), (2, 1)):
        done = subprocess.run(
            ['bash', script, 'a folder', '--workers', '3'],
            capture_output=True,
            text=True,
            env=dict(PATH=f'{tmp_path}:/usr/bin:/bin', CODE=str(code)),
        )
        assert done.returncode == code
        lines = done.stdout.splitlines()
        assert all(line.endswith('--data-root a folder --workers 3') for line in lines)
        names = [Path(line.split()[2]).stem for line in lines]
        assert names == ['coco_r50_1x', 'coco_retinanet_r50_1x'][:count]
