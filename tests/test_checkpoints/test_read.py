"""A checkpoint that cannot be read is named, with what is wrong."""

import pytest
import torch
from mmengine.runner import CheckpointLoader

from mmattn.checkpoints import read_checkpoint


def test_a_checkpoint_and_a_state_dict(tmp_path):
    state = dict(weight=torch.ones(2))
    torch.save(dict(state_dict=state, meta=dict(epoch=3)), tmp_path / 'run.pth')
    torch.save(state, tmp_path / 'weights.pth')
    assert read_checkpoint(str(tmp_path / 'run.pth'))['meta'] == dict(epoch=3)
    assert read_checkpoint(str(tmp_path / 'weights.pth'))['weight'].equal(state['weight'])


def test_what_was_asked_is_said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=rf"^no checkpoint file 'a.pth'; looked in {tmp_path}$"):
        read_checkpoint('a.pth')
    with pytest.raises(FileNotFoundError, match=r"^no checkpoint file 'a.pth' \(--resume\); looked in"):
        read_checkpoint('a.pth', '--resume')


@pytest.mark.parametrize('content', [b'', b'hello', b'PK\3\4', b'\x80\2}q\0X\1\0\0\0'])
def test_a_file_of_another_kind(content, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'a.pth').write_bytes(content)
    with pytest.raises(ValueError, match="^'a.pth' cannot be read as a checkpoint: ") as error:
        read_checkpoint('a.pth')
    assert '\n' not in str(error.value)


def test_an_error_of_another_class_is_named_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'a.pth').touch()

    def fail(*args, **kwargs):
        raise RuntimeError('no such device\nand more')

    monkeypatch.setattr(CheckpointLoader, 'load_checkpoint', fail)
    with pytest.raises(ValueError, match="^'a.pth' .* as a checkpoint: RuntimeError: no such device$"):
        read_checkpoint('a.pth')


@pytest.mark.parametrize('content', [3, [1, 2], {}, dict(state_dict={}), {1: torch.ones(1)}])
def test_a_file_without_weights(content, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save(content, 'a.pth')
    with pytest.raises(ValueError, match=r"^'a.pth' \(load_from\): this is not a checkpoint"):
        read_checkpoint('a.pth', 'load_from')
