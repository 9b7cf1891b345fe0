"""Shared by the tests of studies: the config of a small detector, and studies of it."""

import shutil

import pytest

from tests.test_study.studies import write_base, write_study


@pytest.fixture(scope='package')
def base(squares, tmp_path_factory, request):
    """Config of a small detector of the easy data."""
    return write_base(tmp_path_factory.mktemp('base') / 'base.py', squares, request.config.rootpath)


@pytest.fixture
def a_study(base, tmp_path, monkeypatch):
    """Write the config of a study with these settings; return its path."""
    monkeypatch.delenv('MMATTN_DATA_ROOT', raising=False)
    shutil.copy(base, tmp_path / 'base.py')
    return lambda **settings: write_study(tmp_path / 'study.py', **settings)
