"""The page says what was measured."""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / 'benchmarks'))
import exact_resume  # noqa: E402


def test_the_committed_page_is_of_the_committed_file():
    results = json.loads(exact_resume.RESULTS.read_text())
    assert exact_resume.page(results) == exact_resume.PAGE.read_text(encoding='utf-8')


def test_a_step_takes_at_most_a_hundredth_longer():
    found = json.loads(exact_resume.RESULTS.read_text())['steps']
    assert found['ratio'] <= 1.01 and len(found['plain']) == len(found['exact']) >= 15
    alone = found['seeding_seconds'] + found['batch'] * found['sample_seconds']
    assert alone <= 0.01 * found['step_seconds']
