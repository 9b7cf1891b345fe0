"""The study on the page is that of the committed file."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / 'benchmarks'))
import study_page  # noqa: E402


@pytest.fixture
def results():
    return json.loads(study_page.RESULTS.read_text(encoding='utf-8'))


def test_the_committed_page_is_of_the_committed_file(results):
    assert study_page.page(results) == study_page.PAGE.read_text(encoding='utf-8')


def test_means_follow_from_the_runs(results):
    """And every run that they rest on is there, with the hash of its detections."""
    assert len(results['runs']) == len(results['variants']) * len(results['study']['seeds'])
    assert len({run['files']['bbox'] for run in results['runs']}) == len(results['runs'])
    assert not results['unfinished']
    for each in results['comparisons']:
        if each['difference'] is not None:
            assert each['difference'] == pytest.approx(each['mean'] - each['mean_control'])
            assert each['low'] < each['difference'] < each['high']
