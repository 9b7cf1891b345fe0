"""The page says what was measured, and that meets what is promised."""

import json
import sys
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / 'benchmarks'))
import frozen_stage  # noqa: E402

RESULTS = json.loads(frozen_stage.RESULTS.read_text())


def test_the_committed_page_is_of_the_committed_file():
    assert frozen_stage.page(RESULTS) == frozen_stage.PAGE.read_text(encoding='utf-8')


def test_a_frozen_stage_that_is_computed_again_keeps_little():
    counted = RESULTS['counted']
    for block in frozen_stage.BLOCKS:
        recomputed, kept = counted[f'{block} recomputed'], counted[f'{block} kept']
        assert recomputed['kept'] <= 1.35 * counted['none']['kept'] < kept['kept']
        assert recomputed['peak'] < kept['peak']


def test_it_costs_less_than_a_seventh_of_a_step():
    assert set(RESULTS['times']) == set(frozen_stage.BLOCKS)
    for times in RESULTS['times'].values():
        found = frozen_stage.ratios(times, 'recomputed', 'kept')
        assert len(found) >= 15 and median(found) <= 1.15
