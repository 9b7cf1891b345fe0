"""Whether results can be written is known before the work; nothing is made by asking."""

import os

import pytest

from mmattn.engine.output_path import require_writable_file, require_writable_folder


@pytest.fixture
def folder(tmp_path):
    (tmp_path / 'file').touch()
    (tmp_path / 'there').mkdir()
    return tmp_path


@pytest.mark.parametrize('path', ['there', 'new', 'new/and/deeper', '.'])
def test_a_folder_that_is_there_or_can_be_made(path, folder, monkeypatch):
    monkeypatch.chdir(folder)
    require_writable_folder(path, '--out-dir')
    require_writable_file(os.path.join(path, 'x.png'), '--plot')
    assert sorted(os.listdir()) == ['file', 'there']


@pytest.mark.parametrize('path', ['file', 'file/below', 'file/far/below'])
def test_a_file_is_in_the_way(path, folder, monkeypatch):
    monkeypatch.chdir(folder)
    with pytest.raises(
        NotADirectoryError, match=f"^--out-dir {path}: '{folder}/file' is a file, and a folder"
    ):
        require_writable_folder(path, '--out-dir')
    with pytest.raises(NotADirectoryError, match=f"^--plot {path}/x.png: '{folder}/file' is a file"):
        require_writable_file(f'{path}/x.png', '--plot')


def test_a_file_that_is_there_may_be_replaced(folder):
    require_writable_file(folder / 'file', '--out')


def test_a_folder_is_no_file(folder):
    with pytest.raises(IsADirectoryError, match='^--out .*/there: there is a folder of this name'):
        require_writable_file(folder / 'there', '--out')


def test_a_folder_without_permission_is_refused(folder, monkeypatch):
    monkeypatch.setattr(os, 'access', lambda path, mode: False)  # root may do all
    with pytest.raises(PermissionError, match=f"^--work-dir .*: no permission to write in '{folder}/there'"):
        require_writable_folder(folder / 'there/new', '--work-dir')
