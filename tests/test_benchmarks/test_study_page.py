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


def test_the_words_on_distillation_are_those_of_the_study():
    """docs/distill.md says what was found about teachers with CBAM and without."""
    study = json.loads(study_page.file_of('distillation_shapes').read_text(encoding='utf-8'))
    of_ap = {each['variant']: each for each in study['comparisons'] if each['metric'] == 'bbox/AP'}
    assert {name: each['verdict'] for name, each in of_ap.items()} == dict(
        cbam='better', plain_by_cbam='cannot tell', cbam_by_plain='better', plain_by_plain='cannot tell'
    )
    assert of_ap['plain_by_cbam']['low'] > 0 and of_ap['plain_by_cbam']['p_holm'] > 0.05
    assert of_ap['cbam']['mean'] == max(each['mean'] for each in of_ap.values())
    pairs = {(each['variant'], each['control']): each['verdict'] for each in study['pairs']}
    assert pairs == {('plain_by_cbam', 'plain_by_plain'): 'better', ('cbam_by_plain', 'cbam'): 'cannot tell'}
