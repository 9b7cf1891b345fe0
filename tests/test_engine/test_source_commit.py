"""The commit is that of the package's own repository, and none if it has none."""

import subprocess
from pathlib import Path

import pytest

from mmattn.engine.source_commit import source_commit


def git(folder, *arguments):
    user = ['-c', 'user.name=a', '-c', 'user.email=a@b', '-c', 'commit.gpgsign=false']
    command = ['git', '-C', folder, *user, *arguments]
    return subprocess.run([*map(str, command)], capture_output=True, text=True, check=True).stdout.strip()


def repository(folder, content):
    """A repository with a package in it; return the package's folder."""
    package = folder / 'package'
    package.mkdir(parents=True)
    (package / '__init__.py').write_text(content)
    (folder / '.gitignore').write_text('__pycache__\n.venv\n')
    git(folder, 'init', '-q')
    git(folder, 'add', '.')
    git(folder, 'commit', '-qm', 'All')
    return package


@pytest.fixture
def package(tmp_path, monkeypatch):
    monkeypatch.chdir(repository(tmp_path / 'other', 'x = 1\n'))
    found = repository(tmp_path / 'repository', 'x = 2\n')
    monkeypatch.setenv('GIT_DIR', str(tmp_path / 'other/.git'))
    return found


def test_it_is_that_of_the_package_and_not_of_the_working_directory(package, tmp_path, monkeypatch):
    found = source_commit(package)
    monkeypatch.delenv('GIT_DIR')
    assert found == git(package, 'rev-parse', 'HEAD') != git(tmp_path / 'other', 'rev-parse', 'HEAD')


@pytest.mark.parametrize('change, dirty', [
    ('package/__init__.py', True),
    ('package/new.py', True),
    ('package/__pycache__/a.pyc', False),
    ('README.md', False),
])  # fmt: skip
def test_changes_of_the_package_are_told(package, change, dirty):
    commit = source_commit(package)
    path = package.parent / change
    path.parent.mkdir(exist_ok=True)
    path.write_text('other\n')
    assert source_commit(package) == (f'{commit}-dirty' if dirty else commit)


def test_an_installed_package_has_none(package, tmp_path, monkeypatch):
    installed = package.parent / '.venv/site-packages/mmattn'
    installed.mkdir(parents=True)
    (installed / '__init__.py').touch()
    assert source_commit(installed) is None
    (tmp_path / 'plain').mkdir()
    assert source_commit(tmp_path / 'plain') is None
    monkeypatch.setenv('PATH', str(tmp_path))
    assert source_commit(package) is None


def test_ours_is_found_by_itself(request):
    root = request.config.rootpath
    if not (root / '.git').exists():
        pytest.skip('not a git checkout')
    assert source_commit().removesuffix('-dirty') == git(Path(root), 'rev-parse', 'HEAD')
