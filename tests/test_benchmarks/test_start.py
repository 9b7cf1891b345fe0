"""The benchmark of starts: what its arms differ in, its figures, and its table."""

import json
import sys
from argparse import Namespace
from pathlib import Path

import pytest
from scipy import stats

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / 'benchmarks'))
import start  # noqa: E402
import start_table  # noqa: E402


@pytest.fixture
def args(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    (tmp_path / 'annotations').mkdir()
    (tmp_path / 'annotations/train.json').write_text(
        json.dumps(
            dict(
                images=[dict(id=1, file_name='a.jpg', width=9, height=9)],
                annotations=[],
                categories=[dict(id=1, name='thing')],
            )
        )
    )
    return Namespace(data_root=str(tmp_path), work_dir=str(tmp_path), size=96, base_epochs=3, epochs=2)


def test_arms_differ_in_attention_alone(args):
    plain = start.make_config(args, 'plain', 1).to_dict()
    assert plain['load_from'].endswith('base_seed0/epoch_3.pth') and plain['randomness'] == dict(seed=1)
    for arm in ('identity', 'paper', 'adapter'):
        config = start.make_config(args, arm, 1).to_dict()
        model = config['model']
        (rule,) = model.pop('insert')
        assert rule['block'] == dict(type='mmattn.CBAM', start='paper' if arm == 'paper' else 'identity')
        assert model.pop('freeze_detector', False) is (arm == 'adapter')
        model['type'] = model.pop('detector')
        config['work_dir'] = plain['work_dir']
        assert config == plain


def test_base_trains_all_from_scratch(args):
    config = start.make_config(args, start.BASE, 0)
    assert config.get('load_from') is None and config.train_cfg.max_epochs == 3
    assert (config.model.backbone.frozen_stages, config.model.backbone.norm_eval) == (-1, False)
    assert config.train_pipeline[2].scale != config.train_dataloader.dataset.pipeline[2].scale == (96, 96)


def test_interval_is_students():
    values = [0.1, 0.4, 0.25]
    center, half = start_table.interval(values)
    low, high = stats.t.interval(0.95, 2, loc=center, scale=stats.sem(values))
    assert (center - half, center + half) == pytest.approx((low, high), rel=1e-3)
    assert all(round(stats.t.ppf(0.975, n), 3) == value for n, value in start_table.T.items())


def test_the_page_has_the_results_of_the_file():
    page = start_table.PAGE.read_text(encoding='utf-8')
    text = start_table.table(json.loads(start_table.RESULTS.read_text()))
    assert start_table.insert(page, text) == page and text in page
    assert 'bit for bit' in text  # no attention and fresh identity answer alike
