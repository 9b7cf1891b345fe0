"""The docs, built once as `make docs` builds them."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from filelock import FileLock

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / 'tools/dev/site'))

# An environment for other work may lack MkDocs. Continuous integration also runs `make docs`, and fails.
HAS_MKDOCS = find_spec('mkdocs') is not None
collect_ignore_glob = [] if HAS_MKDOCS else ['test_*.py']


def pytest_report_header():
    return [] if HAS_MKDOCS else 'tests/test_site is left out: MkDocs is missing (requirements/docs.txt)'


def build(folder):
    """Run MkDocs as `make docs` does, without a network; return its log."""
    nowhere = 'http://127.0.0.1:9'
    env = dict(os.environ, NO_MKDOCS_2_WARNING='1', http_proxy=nowhere, https_proxy=nowhere)
    command = [sys.executable, '-m', 'mkdocs', 'build', '--strict', '--site-dir', str(folder)]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)


@pytest.fixture(scope='session')
def site(tmp_path_factory):
    """Folder of the built site; the workers of a run share it."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if 'PYTEST_XDIST_WORKER' in os.environ else base) / 'site'
    with FileLock(f'{folder}.lock'):
        if not folder.is_dir():
            done = build(folder)
            assert done.returncode == 0, done.stderr
    return folder
