"""The table of tested versions says what happened in each environment."""

import argparse
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / 'benchmarks'))
import stacks  # noqa: E402

REPORT = """<testsuites><testsuite>
<testcase classname="tests.test_a" name="test_one" time="1"/>
<testcase classname="tests.test_a" name="test_two"><failure message="E: #x1B[1mno#x1B[0m&#10;b"/></testcase>
<testcase classname="tests.test_b" name="test_three"><skipped message="no GPU"/></testcase>
<testcase classname="tests.test_b" name="test_four"><error message="ImportError">x</error></testcase>
</testsuite></testsuites>"""
BASE = dict(family='openmmlab', python='3.11', torch='2.13.0')


def test_tests_are_counted_from_pytests_report(tmp_path, monkeypatch):
    (tmp_path / 'tests.xml').write_text(REPORT)
    found = stacks.counts(tmp_path / 'tests.xml')
    assert found == dict(
        test_a=dict(
            passed=1, failed=1, skipped=0, failures=[dict(test='tests.test_a::test_two', error='E: no')]
        ),
        test_b=dict(
            passed=0,
            failed=1,
            skipped=1,
            failures=[dict(test='tests.test_b::test_four', error='ImportError')],
        ),
    )
    text = '1 passed, **2 failed**: 1 with `E: no`; 1 with `ImportError`'
    assert stacks.verdict(dict(BASE, folders=found)) == f'{text}; only of test_a, test_b'
    monkeypatch.setattr(stacks, 'TESTS', ['tests/test_a', 'tests/test_b'])
    assert stacks.verdict(dict(BASE, folders=found)) == text


def test_a_python_that_is_not_there_is_a_line(tmp_path):
    cell = stacks.run_cell('onedl/3.99/2.13.0', tmp_path, [], 1)
    assert stacks.verdict(cell) == 'skipped: no python3.99 on PATH'
    assert '| 3.99 | 2.13.0 | forks | skipped: no python3.99 on PATH |' in stacks.table(dict(cells=[cell]))


def test_a_failed_set_up_tells_its_step_and_its_first_error():
    log = """[2/6] PyTorch (usually 1 min)
ERROR: No matching distribution found for torch==2.0.1
set-up FAILED at: PyTorch
  Command '['pip']' returned non-zero exit status 1.
"""
    assert stacks.first_error(log) == 'PyTorch: ERROR: No matching distribution found for torch==2.0.1'


def cell(versions, **passed):
    folders = {name: dict(passed=count, failed=0, skipped=0, failures=[]) for name, count in passed.items()}
    return dict(BASE, outcome='tested', machine=dict(versions=versions), folders=folders)


def test_a_cell_that_runs_again_replaces_its_line():
    other = dict(BASE, python='3.13', outcome='skipped', reason='x')
    old = cell(dict(torch='2'), test_a=1, test_b=1)
    results = stacks.with_cell(dict(cells=[other, old]), cell(dict(torch='2'), test_b=5))
    first, last = results['cells']  # in the order of CELLS, others last
    assert {name: each['passed'] for name, each in first['folders'].items()} == dict(test_a=1, test_b=5)
    assert last == other
    # What other packages did says nothing.
    results = stacks.with_cell(results, cell(dict(torch='3'), test_b=5))
    assert list(results['cells'][0]['folders']) == ['test_b']


@pytest.mark.parametrize('name', ['3.11', 'onedl/3.11', 'conda/3.11/2.4.1', 'onedl//2.4.1'])
def test_an_unknown_cell_is_refused(name):
    with pytest.raises(
        argparse.ArgumentTypeError, match=f"'{name}' is no cell: FAMILY/PYTHON/TORCH, as in onedl"
    ):
        stacks.cell_name(name)


def test_the_page_shows_the_results():
    results = json.loads(stacks.RESULTS.read_text())
    assert stacks.page(results) == stacks.PAGE.read_text(encoding='utf-8')
