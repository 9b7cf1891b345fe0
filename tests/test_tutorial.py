"""The tutorial notebook runs, and its outputs are those of its cells."""

import os
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / 'tools/dev'))
import tutorial  # noqa: E402

HOW = 'python tools/dev/tutorial.py executes the notebook and keeps its outputs'


@pytest.fixture(scope='module')
def committed():
    return tutorial.read()


def code(cells):
    return [cell for cell in cells if cell['cell_type'] == 'code']


def test_the_outputs_belong_to_the_cells(committed):
    assert committed['metadata']['mmattn']['source'] == tutorial.source_hash(committed), HOW
    counts = [cell['execution_count'] for cell in code(committed['cells'])]
    assert counts == list(range(1, len(counts) + 1)), HOW


def test_the_notebook_is_small_and_says_nothing_of_a_machine(committed):
    text = tutorial.NOTEBOOK.read_text(encoding='utf-8')
    assert len(text.encode()) < tutorial.LIMIT
    without_images = re.sub(r'"image/\w+": "[^"]*"', '', text)
    assert not re.search(r'["\s\'(](/\w+/|[A-Z]:\\\\)|\w+@\w+', without_images), (
        'an absolute path, or an address'
    )
    assert 'arning' not in ''.join(map(tutorial.printed, committed['cells']))
    assert not any(tutorial.printed(cell, 'stderr') for cell in committed['cells'])


def test_every_image_has_a_text_for_who_does_not_see_it(committed):
    outputs = [each for cell in code(committed['cells']) for each in cell['outputs']]
    images = [each for each in outputs if any(key.startswith('image/') for key in each.get('data', ()))]
    assert len(images) >= 4
    for each in images:
        assert each['metadata']['image/jpeg']['alt']


def test_links_lead_somewhere(committed):
    texts = [tutorial.source_of(cell) for cell in committed['cells'] if cell['cell_type'] == 'markdown']
    texts.append((ROOT / 'demo/README.md').read_text(encoding='utf-8'))
    links = re.findall(r'\]\(([^)#]+)', '\n'.join(texts))
    assert len(links) > 5
    assert not [link for link in links if '://' not in link and not (ROOT / 'demo' / link).exists()]


@pytest.fixture
def execute(tmp_path, monkeypatch):
    """Execute the notebook with other parameters, and return its cells by their ids."""
    pytest.importorskip('papermill', reason='papermill is not installed (requirements/tests.txt)')
    monkeypatch.setenv('PYTHONPATH', str(ROOT), prepend=os.pathsep)

    def execute(**parameters):
        executed = tutorial.execute(tmp_path / 'out.ipynb', folder=str(tmp_path / 'tutorial'), **parameters)
        assert not any(tutorial.printed(cell, 'stderr') for cell in executed['cells'])
        return {cell['id']: cell for cell in executed['cells']}

    return execute


@pytest.mark.slow
def test_a_full_run_learns(execute):
    metrics = tutorial.printed(execute()['metrics']).split()
    assert float(metrics[12:][metrics.index('AP50')]) > 0.2


def test_a_short_run_prints_the_same(committed, execute):
    """Two steps on six images. What does not depend on them is printed as in the committed outputs."""
    cells = execute(steps=2, images=6)
    same = [cell for cell in committed['cells'] if 'same' in cell['metadata'].get('tags', ())]
    assert len(same) == 5
    for cell in same:
        assert tutorial.printed(cell) == tutorial.printed(cells[cell['id']]), f'cell {cell["id"]}: {HOW}'
        assert tutorial.printed(cell).count('\n') > 1
    metrics = tutorial.printed(cells['metrics']).split()
    assert metrics[:2] == ['AP', 'AP50'] and len(metrics) == 24
