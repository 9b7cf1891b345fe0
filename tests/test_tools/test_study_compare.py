"""tools/study.py compare, as a user calls it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_study.made_results import made_detections, made_ground_truth, write

TOOL = Path(__file__).parents[2] / 'tools/study.py'
TRUTH = made_ground_truth(images=12, objects=50)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / 'ann.json', TRUTH)
    for name, noise in (('plain', 0.15), ('se', 0.05)):
        write(tmp_path / f'{name}.json', made_detections(TRUTH, 150, many=False, noise=noise, masks=True))
    return tmp_path


def compare(*args):
    return subprocess.run(
        [sys.executable, TOOL, 'compare', *args], capture_output=True, text=True, timeout=300
    )


def test_compare(folder):
    done = compare('plain.json', 'se.json', '--ann', 'ann.json', '--out', 'out', '--metric', 'bbox', 'segm')
    assert done.returncode == 0, done.stderr
    for text in (
        'Boxes: metrics',
        'Masks: mistakes',
        'one seed: the interval is about new images',
        'out/report.md',
    ):
        assert text in done.stdout
    assert json.loads((folder / 'out/report.json').read_text())['variants'] == ['plain', 'se']
    assert len(list((folder / 'out/evaluations').iterdir())) == 2 * 2 * 4  # files, boxes and masks, parts


def test_a_mistake_is_told_without_a_traceback(folder):
    write(folder / 'bad.json', [dict(image_id=7, category_id=1, score=0.5, bbox=[1, 2, 3])])
    done = compare('plain.json', 'bad.json', '--ann', 'ann.json')
    assert done.returncode == 2 and not done.stdout
    assert done.stderr.startswith("study.py: 'bad.json': entry 0 has the bbox [1, 2, 3]")
