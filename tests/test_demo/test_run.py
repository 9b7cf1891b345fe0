"""The demo leaves what it promises, destroys nothing, and says when it fails."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from mmattn.datasets import ShapesSettings
from mmattn.demo import DemoResult, run_demo
from mmattn.demo.run import move_aside
from mmattn.demo.targets import verdicts

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / 'configs/shapes/faster-rcnn_r18-cbam_fpn_shapes.py'
BRIEF = dict(
    train_cfg=dict(max_iters=2, val_interval=2),
    default_hooks=dict(checkpoint=dict(interval=2), logger=dict(interval=1)),
    train_dataloader=dict(batch_size=2, num_workers=0, persistent_workers=False),
    val_dataloader=dict(batch_size=2, num_workers=0, persistent_workers=False),
)


def metrics(**values):
    return dict(
        dict.fromkeys(
            ('AP', 'AP50', 'AP75', 'APs', 'APm', 'APl', 'AR1', 'AR10', 'AR100', 'ARs', 'ARm', 'ARl'), 0.6
        ),
        **values,
    )


def test_missed_targets_are_said_with_their_distance():
    files, seconds = dict(log=Path('x.log')), dict(data=1.0)
    assert DemoResult(metrics(AP=0.5, AP50=0.8), files, seconds).misses() == []
    assert DemoResult(metrics(AP=0.55, AP50=0.72), files, seconds).misses() == [
        'AP50 is 0.720, 0.080 below the target of 0.80'
    ]
    assert DemoResult(metrics(AP=None, AP50=0.9), files, seconds).misses() == [
        'AP is 0.000, 0.500 below the target of 0.50'
    ]


def test_each_target_is_said_to_be_reached_or_missed():
    assert verdicts(metrics(AP=None, AP50=0.8)) == [
        '**AP50 0.800**: the target of 0.80 was reached',
        '**AP 0.000**: the target of 0.50 was missed',
    ]


def test_the_result_says_where_things_are():
    text = str(
        DemoResult(
            metrics(),
            dict(log=Path('a/x.log'), page=Path('a/p.html')),
            dict(data=1.2, training=200.4),
            Path('work_dirs/demo.1'),
        )
    )
    assert 'log   a/x.log\npage  a/p.html\n' in text
    assert 'the earlier result was moved to work_dirs/demo.1' in text
    assert text.endswith('took data 1 s, training 200 s')


def test_an_earlier_result_is_moved_not_mixed(tmp_path):
    demo = tmp_path / 'demo'
    assert move_aside(demo) is None
    demo.mkdir()
    assert move_aside(demo) is None
    (demo / 'first').touch()
    assert move_aside(demo) == tmp_path / 'demo.1'
    demo.mkdir()
    (demo / 'second').touch()
    assert move_aside(demo) == tmp_path / 'demo.2'
    assert (tmp_path / 'demo.1/first').exists() and (tmp_path / 'demo.2/second').exists()
    assert not demo.exists()


@pytest.mark.slow
def test_two_iterations_leave_everything(tmp_path, monkeypatch):
    monkeypatch.setenv('MMATTN_DATA_ROOT', 'elsewhere')
    work_dir = tmp_path / 'demo'
    settings = ShapesSettings(train=6, val=3, size=128)
    result = run_demo(CONFIG, tmp_path / 'shapes', work_dir, BRIEF, settings, command='a <command>')
    assert all(path.is_file() for path in result.files.values()), result.files
    assert set(result.seconds) == {'data', 'training', 'report'}
    assert json.loads((work_dir / 'coco_metrics.json').read_text()) == result.metrics
    page = (work_dir / 'index.html').read_text()
    assert (
        '<dd>a &lt;command&gt;</dd>' in page
        and 'CBAM at 8 sites' in page
        and '2 iterations of 2 images' in page
    )
    assert page.count('was missed') == 2
    truth = json.loads((tmp_path / 'shapes/annotations/val.json').read_text())
    with_objects = {each['image_id'] for each in truth['annotations']}
    assert page.count('<section id="image') == len(with_objects) > 1
    for name in ('learning_curve.png', 'images.png'):
        with Image.open(work_dir / name) as image:
            assert min(image.size) > 300
    assert 'loss_rpn_cls' in result.files['log'].read_text()
    assert result.misses(), 'two iterations cannot be enough'
    assert os.environ['MMATTN_DATA_ROOT'] == 'elsewhere'


@pytest.mark.slow
def test_the_tool_fails_when_targets_are_missed(tmp_path):
    make = [sys.executable, ROOT / 'tools/make_shapes.py', '--out', tmp_path / 's']
    demo = [
        sys.executable,
        ROOT / 'tools/demo.py',
        '--data-root',
        tmp_path / 's',
        '--work-dir',
        tmp_path / 'demo',
        '--cfg-options',
        'train_cfg.max_iters=1',
        'train_cfg.val_interval=1',
        'default_hooks.logger.interval=1',
    ]
    env = dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1')
    subprocess.run([*make, '--train', '8', '--val', '2', '--workers', '1'], env=env, check=True)
    refused = subprocess.run(demo, env=env, text=True, capture_output=True)
    assert refused.returncode != 0 and 'but you ask for' in refused.stderr
    assert not (tmp_path / 'demo').exists()
    subprocess.run([*make, '--force', '--workers', '2'], env=env, check=True)
    missed = subprocess.run(demo, env=env, text=True, capture_output=True)
    assert missed.returncode == 1, missed.stderr
    assert 'below the target of 0.80' in missed.stderr.splitlines()[-1]
    assert 'Traceback' not in missed.stderr
