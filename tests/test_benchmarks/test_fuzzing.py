"""The page says what came of a thousand mutations."""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / 'benchmarks'))
import fuzzing  # noqa: E402


def results():
    return json.loads(fuzzing.RESULTS.read_text())


def test_the_committed_page_is_of_the_committed_file():
    assert fuzzing.page(results()) == fuzzing.PAGE.read_text(encoding='utf-8')


def test_a_thousand_cases_of_all_parts_went_well():
    found = results()
    assert found['cases'] >= 990 and not found['failures'] and found['slowest_seconds'] < 60
    assert set(found['counts']) == {'configs', 'annotations', 'checkpoints'}
    for part, mutations in found['counts'].items():
        counts = fuzzing.totals(mutations)
        assert counts['refused', 'refused'] >= 50 and counts.total() >= 250, part
        assert {what for must, what in counts if must == 'refused'} == {'refused'}
        assert {what for must, what in counts if must in ('trains', 'same')} == {'trained'}
