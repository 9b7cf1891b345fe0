"""The study on the page is that of the committed file."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / 'benchmarks'))
import study_page  # noqa: E402


@pytest.fixture(params=study_page.STUDIES)
def results(request):
    return json.loads(study_page.file_of(request.param).read_text(encoding='utf-8'))


def test_the_committed_pages_are_of_the_committed_files():
    for name, text in study_page.pages().items():
        assert text == (study_page.DOCS / name).read_text(encoding='utf-8')


def test_means_follow_from_the_runs(results):
    """And every run that they rest on is there, with the hash of its detections."""
    seeds = {run['seed'] for run in results['runs']}
    assert len(results['runs']) == len(results['variants']) * len(seeds)
    assert len({run['files']['bbox'] for run in results['runs']}) == len(results['runs'])
    assert {int(run.rpartition('_')[2]) for run in results['unfinished']} == (
        set(results['study']['seeds']) - seeds
    )
    for each in results['comparisons']:
        assert each['paired_seeds'] == len(seeds)
        if each['difference'] is not None:
            assert each['difference'] == pytest.approx(each['mean'] - each['mean_control'])
            assert each['low'] <= each['difference'] <= each['high']
            # no small objects were found by any run of BCCD's
            assert each['low'] < each['high'] or each['mean'] == each['mean_control'] == 0
