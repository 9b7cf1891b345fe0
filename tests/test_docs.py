"""The examples in docstrings and pages run, and the pages' links lead somewhere."""

import doctest
import importlib
import pkgutil
import re
import sys
from pathlib import Path

import mmdet.datasets  # noqa: F401  (what it prints when imported is not part of an example)
import pytest
from mmengine.logging import MMLogger

import mmattn

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / 'tools/dev'))
import commands_page  # noqa: E402

MODULES = [m.name for m in pkgutil.walk_packages(mmattn.__path__, 'mmattn.')]
PAGES = [ROOT / name for name in ('README.md', 'CHANGELOG.md', 'CONTRIBUTING.md')]
PAGES += sorted((ROOT / 'docs').glob('*.md'))


@pytest.fixture(autouse=True)
def quiet():
    """Log lines carry the time, which no example can show."""
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel('ERROR')
    yield
    logger.setLevel(level)


@pytest.mark.parametrize('name', MODULES)
def test_examples_in_docstrings_run(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_examples_on_pages_run(page):
    assert doctest.testfile(str(page), module_relative=False).failed == 0


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_links_of_pages_lead_somewhere(page):
    links = re.findall(r'\]\(([^)#]+)', page.read_text(encoding='utf-8'))
    missing = [link for link in links if '://' not in link and not (page.parent / link).exists()]
    assert not missing


def test_the_readme_links_every_page():
    links = re.findall(r'\]\(([^)#]+)', (ROOT / 'README.md').read_text(encoding='utf-8'))
    assert {f'docs/{page.name}' for page in (ROOT / 'docs').glob('*.md')} <= set(links)


def test_the_navigation_of_the_site_has_every_page():
    """mkdocs.yml, by task. Chinese pages follow by themselves."""
    listed = re.findall(r'^ +- (\w+\.md)$', (ROOT / 'mkdocs.yml').read_text(encoding='utf-8'), re.MULTILINE)
    assert {page.name for page in (ROOT / 'docs').glob('*.md')} <= set(listed)
    assert len(listed) == len(set(listed))


def test_the_page_of_commands_has_their_options():
    page = (ROOT / 'docs/commands.md').read_text(encoding='utf-8')
    assert page == commands_page.page(), 'python tools/dev/commands_page.py --write'


def test_each_row_of_what_can_go_wrong_names_its_test():
    """``test_room/test_module.py::test_name``, and that test is there."""
    page = (ROOT / 'docs/what_can_go_wrong.md').read_text(encoding='utf-8')
    rows = [line for line in page.splitlines() if line.startswith('|')]
    rows = [row for row in rows if row not in ('|---|---|---|', '| what goes wrong | what happens | test |')]
    assert len(rows) > 40
    for row in rows:
        path, name = re.search(r'\| `(test_\S+\.py)::(\w+)` \|$', row).groups()
        assert f'\ndef {name}(' in (ROOT / 'tests' / path).read_text(encoding='utf-8'), row


def test_every_example_of_a_block_is_found():
    """testmod passes where there is nothing to run."""
    from mmattn.blocks import se

    assert doctest.testmod(se).attempted >= 3
