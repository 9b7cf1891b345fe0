"""The table of codebases is that of the results; each works as the table says."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / 'benchmarks'))
import codebases as benchmark  # noqa: E402

from tests.codebases import codebase  # noqa: E402

RESULTS = json.loads(benchmark.RESULTS.read_text(encoding='utf-8'))


def test_the_page_is_that_of_the_results():
    assert benchmark.page(RESULTS) == benchmark.PAGE.read_text(encoding='utf-8')


def test_what_is_promised_works_in_all():
    for found in RESULTS['codebases'].values():
        works = {name: each.get('works') for name, each in found['tried'].items()}
        assert works['sites'] == '16 of 16' and works['load'] == 'only `attention.*` differs'
        for name in ('sites', 'identity', 'gradients', 'detect'):
            count, _, of = works[name].partition(' of ')
            assert count == of != '0', name


@pytest.mark.slow
@pytest.mark.parametrize('name', benchmark.CODEBASES)
def test_it_is_so_here(name):
    codebase(name)
    found = benchmark.measure([name], {})['codebases'][name]['tried']
    assert {key: 'works' in each for key, each in found.items()} == {
        key: 'works' in each for key, each in RESULTS['codebases'][name]['tried'].items()
    }
