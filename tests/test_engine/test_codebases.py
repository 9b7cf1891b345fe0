"""Training and testing of models of other codebases, by our tools and by theirs."""

import runpy
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmattn import engine
from mmattn.checkpoints import read_checkpoint
from mmattn.engine import train
from tests.codebases import codebase

CONFIG = 'configs/pretrain/resnet18-se_8xb32_in1k.py'
ROOT = Path(__file__).parents[2]
TWIN = 'configs/se/faster-rcnn_r18-se-in1k_fpn_1x_coco.py'


@pytest.fixture
def mmpretrain(in_project):
    return Path(codebase('mmpretrain').__file__).parent


@pytest.fixture
def images(tmp_path):
    """Two of ImageNet's classes, in its folders, with the lists that MMPretrain reads."""
    random = np.random.default_rng(0)
    for part in ('train', 'val'):
        lines = []
        for number in range(4):
            name = f'n0144076{number % 2}/{number}.jpg'
            path = tmp_path / 'imagenet' / part / name
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), random.integers(0, 255, (48, 40, 3), dtype=np.uint8))
            lines.append(f'{name} {number % 2}\n')
        (tmp_path / 'imagenet/meta').mkdir(exist_ok=True)
        (tmp_path / f'imagenet/meta/{part}.txt').write_text(''.join(lines))
    return tmp_path / 'imagenet'


def small():
    options = {
        'train_cfg.max_epochs': 1,
        'randomness.seed': 0,
        'train_dataloader.dataset.pipeline.1.scale': 32,
    }
    for part in ('train', 'val', 'test'):
        options[f'{part}_dataloader.num_workers'] = 0
        options[f'{part}_dataloader.batch_size'] = 2
    return options


def test_our_tools_pretrain_and_test(mmpretrain, images, tmp_path):
    runner = train(CONFIG, str(tmp_path / 'run'), cfg_options=small(), data_root=str(images))
    assert type(runner.model).__name__ == 'ImageClassifierWithAttention' and runner.iter == 2
    checkpoint = str(tmp_path / 'run/epoch_1.pth')
    metrics = engine.test(
        CONFIG, checkpoint, str(tmp_path / 'test'), cfg_options=small(), data_root=str(images)
    )
    assert set(metrics) == {'accuracy/top1', 'accuracy/top5'}
    assert metrics['accuracy/top1'] == runner.message_hub.get_scalar('val/accuracy/top1').current()


@pytest.mark.slow
def test_mmpretrains_own_tool_does_the_same(mmpretrain, images, tmp_path, monkeypatch):
    ours = train(CONFIG, str(tmp_path / 'ours'), cfg_options=small(), data_root=str(images))
    options = {
        **small(),
        **{f'{part}_dataloader.dataset.data_root': images for part in ('train', 'val', 'test')},
        **{f'{part}_dataloader.persistent_workers': False for part in ('train', 'val', 'test')},
    }
    given = ['--cfg-options', *(f'{key}={value}' for key, value in options.items())]
    given += ['--work-dir', str(tmp_path / 'theirs'), '--no-persistent-workers', '--no-pin-memory']
    monkeypatch.setattr(sys, 'argv', ['train.py', CONFIG, *given])
    runpy.run_path(str(mmpretrain / '.mim/tools/train.py'), run_name='__main__')
    theirs = read_checkpoint(str(tmp_path / 'theirs/epoch_1.pth'))['state_dict']
    assert theirs.keys() == ours.model.state_dict().keys()
    assert sum(key.startswith('attention.') for key in theirs) > 8


def test_without_mmpretrain_the_error_names_it():
    code = (
        'import mmengine.config.config as config; config.is_installed = lambda package: False\n'
        f'from mmattn.engine import build_model\ntry:\n    build_model({CONFIG!r})\n'
        'except ModuleNotFoundError as error:\n    print(error.mistake_text)'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.splitlines()[-1] == (
        f"config '{CONFIG}' cannot be read: ModuleNotFoundError: mmpretrain is not installed, please install "
        'mmpretrain manually'
    ), done.stderr


def test_without_the_pretrained_weights_the_error_says_what_makes_them(
    in_project, squares, tmp_path, monkeypatch
):
    monkeypatch.delenv('MMATTN_PRETRAINED', raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError) as error:
        train(str(ROOT / TWIN), str(tmp_path / 'run'), cfg_options=_reads(squares))
    assert str(error.value) == (
        "no file 'work_dirs/resnet18-se_8xb32_in1k/epoch_100.pth' with pretrained weights "
        f'(model.backbone.init_cfg.checkpoint); looked in {tmp_path}. `python tools/train.py '
        'configs/pretrain/resnet18-se_8xb32_in1k.py` makes it; MMATTN_PRETRAINED or --cfg-options '
        'model.backbone.init_cfg.checkpoint=FILE names another'
    )


def _reads(squares):
    """Options with which a config for COCO reads the easy data."""
    options = {'model.roi_head.bbox_head.num_classes': 2}
    for part, file in dict(train='train', val='val', test='val').items():
        options[f'{part}_dataloader.dataset.metainfo'] = dict(classes=('bright', 'dark'))
        options[f'{part}_dataloader.dataset.data_root'] = f'{squares}/'
        options[f'{part}_dataloader.dataset.ann_file'] = f'annotations/{file}.json'
        options[f'{part}_dataloader.dataset.data_prefix.img'] = 'images/'
        if part != 'train':
            options[f'{part}_evaluator.ann_file'] = f'{squares}/annotations/{file}.json'
    return options
