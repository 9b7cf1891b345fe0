"""The page says what checking data was measured to cost."""

import json
import sys
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / 'benchmarks'))
import check_data  # noqa: E402


def test_the_committed_page_is_of_the_committed_file():
    results = json.loads(check_data.RESULTS.read_text())
    assert check_data.page(results) == check_data.PAGE.read_text(encoding='utf-8')


def test_a_check_of_cocos_size_costs_little_beside_loading():
    results = json.loads(check_data.RESULTS.read_text())
    assert results['images'] == 118_287
    seconds = {name: median(each) for name, each in results['seconds'].items()}
    assert seconds['check'] + seconds['loaded'] < seconds['load'] / 4
    assert seconds['check'] - seconds['read'] < 3


def test_the_made_data_set_is_whole(tmp_path, monkeypatch, mmdet_scope):
    monkeypatch.setattr(check_data, 'IMAGES', 300)
    monkeypatch.setattr(check_data, 'BOXES', 900)
    from mmattn.engine import check_data as check

    check_data.write_set(tmp_path)
    (_, data), *_ = check(check_data.config(tmp_path), ('train',))
    assert len(data.boxes) == 900 and data.boxes.usable().all() and not data.findings
