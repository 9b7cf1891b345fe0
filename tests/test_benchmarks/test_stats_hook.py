"""The page says what was measured."""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / 'benchmarks'))
import stats_hook  # noqa: E402


def test_the_committed_page_is_of_the_committed_file():
    results = json.loads(stats_hook.RESULTS.read_text())
    assert stats_hook.page(results) == stats_hook.PAGE.read_text(encoding='utf-8')


def test_the_hook_costs_less_than_a_fiftieth_of_a_step_at_its_default_interval():
    blocks = json.loads(stats_hook.RESULTS.read_text())['blocks']
    assert [each['block'] for each in blocks] == list(stats_hook.BLOCKS)
    assert all(each['overhead'] < 0.02 and len(each['step']) == len(each['measured']) for each in blocks)
