"""README.md shows what the files of results say, what the tools print, and nothing that is not true."""

import re
import sys
from pathlib import Path

import pytest

from mmattn.demo.coco_metrics import NAMES, metrics_table
from mmattn.demo.run import DemoResult
from mmattn.version import __version__

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / 'benchmarks'))
import front_page  # noqa: E402

README = (ROOT / 'README.md').read_text(encoding='utf-8')


@pytest.mark.parametrize(
    'name, part',
    [
        ('promises', front_page.promises),
        ('studies', front_page.studies),
        ('demo', lambda: front_page.demo(front_page.read('demo'))),
    ],
)
def test_the_page_shows_todays_results(name, part):
    assert front_page.page(README, {name: part()}) == README, 'run benchmarks/front_page.py'


def test_a_result_that_changes_changes_the_page(monkeypatch):
    read = front_page.read

    def other(name):
        found = read(name)
        if name == 'tails_cpu':
            front_page.row(found['rows'], attention='CBAM, as one', training=True)['ratio'] = 1.5
        return found

    monkeypatch.setattr(front_page, 'read', other)
    assert 'training step x1.50' in front_page.promises()


def test_of_the_demo_its_result_is_shown():
    result = DemoResult(
        dict.fromkeys(NAMES, 0.5), dict(page=ROOT / 'index.html', log=Path('a.log')), dict(data=1, training=2)
    )
    log = f'shapes data set in data/shapes\ntraining x on the CPU\nmmengine - INFO - Iter(train)\n{result}\n'
    shown = ['training x on the CPU', *metrics_table(result.metrics).splitlines()]
    assert front_page.printed(log) == [*shown, 'page  index.html', 'took data 1 s, training 2 s']


def test_badges_say_what_the_package_requires():
    badges = dict(re.findall(r'img\.shields\.io/badge/(\w+)-([\w.%]+)-', README))
    setup = (ROOT / 'setup.py').read_text(encoding='utf-8')
    said = dict(re.findall(r"^    (license|python_requires)='(.*)',$", setup, flags=re.MULTILINE))
    files = [ROOT / 'requirements' / name for name in ('runtime.txt', 'openmmlab.txt')]
    requirements = ''.join(file.read_text(encoding='utf-8') for file in files)
    floors = dict(re.findall(r'^(torch|mmdet)>=([\d.]+)', requirements, flags=re.MULTILINE))
    assert badges == dict(
        license=said['license'].replace('-', '_'),
        python=said['python_requires'].removeprefix('>=') + '%2B',
        pytorch=floors['torch'] + '%2B',
        mmdetection=floors['mmdet'].removesuffix('.0') + '%2B',
    )


def test_the_citation_names_this_version():
    assert f'version = {{{__version__}}}' in README
