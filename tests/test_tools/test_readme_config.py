"""The README's config: its sites, and MMDetection's own tool, which has not imported mmattn, trains it."""

import subprocess
import sys
from pathlib import Path

import mmdet
import pytest
import torch

from tests.squares import CLASSES, SIZE, as_arguments

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / 'benchmarks'))
import front_page  # noqa: E402

TRAIN = Path(mmdet.__file__).parent / '.mim/tools/train.py'


def options(squares):
    """The README's detector, made narrow, on the squares."""
    found = {
        'model.backbone.init_cfg': None,
        'model.backbone.base_channels': 8,
        'model.neck.in_channels': [32, 64, 128, 256],
        'model.roi_head.bbox_head.num_classes': len(CLASSES),
        'train_cfg.max_epochs': 1,
        'train_cfg.val_interval': 2,
        'train_dataloader.batch_size': 8,
        'train_dataloader.dataset.pipeline.2.scale': (SIZE, SIZE),
    }
    for part in ('train', 'val', 'test'):
        name = 'train' if part == 'train' else 'val'
        found |= {
            f'{part}_dataloader.num_workers': 0,
            f'{part}_dataloader.persistent_workers': False,
            f'{part}_dataloader.dataset.data_root': f'{squares}/',
            f'{part}_dataloader.dataset.ann_file': f'annotations/{name}.json',
            f'{part}_dataloader.dataset.data_prefix.img': 'images/',
            f'{part}_dataloader.dataset.metainfo.classes': CLASSES,
        }
        if part != 'train':
            found[f'{part}_evaluator.ann_file'] = f'{squares}/annotations/{name}.json'
    return found


@pytest.fixture
def my_config(tmp_path, monkeypatch):
    """The config beside the reader, as the README has it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'my_config.py').write_text(front_page.config(), encoding='utf-8')


def test_sites(my_config, run_tool):
    done = run_tool('sites.py', *front_page.SITES)
    assert done.code == 0
    assert front_page.sites(done.out) in front_page.PAGE.read_text(encoding='utf-8'), (
        'run benchmarks/front_page.py'
    )


@pytest.mark.slow
def test_mmdetections_train(my_config, squares, tmp_path):
    if not TRAIN.is_file():
        pytest.skip(f'this MMDetection comes without {TRAIN}')
    command = [sys.executable, TRAIN, 'my_config.py', '--work-dir', 'work', *as_arguments(options(squares))]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    state = torch.load(tmp_path / 'work/epoch_1.pth', weights_only=False)['state_dict']
    sites = {key.split('.')[1] for key in state if key.startswith(('attention.backbone_', 'attention.neck_'))}
    assert len(sites) == 13 + 4
