"""RefuseCodeHook guards a run of any tool, MMDetection's own too."""

from pickle import UnpicklingError

import pytest
import torch
from mmengine.runner import CheckpointLoader, load_checkpoint

from mmattn.checkpoints import UntrustedCheckpoint, refuse_code
from mmattn.hooks import RefuseCodeHook
from tests.test_checkpoints import attacks
from tests.test_checkpoints.test_trust import _runner, _Toy


def test_the_hook_guards_a_run_of_any_tool(tmp_path):
    marker = attacks.evil_checkpoint(tmp_path / 'evil.pth')
    hooks = [dict(type=f'mmattn.{RefuseCodeHook.__name__}')]
    for resume in (False, True):
        runner = _runner(tmp_path / f'{resume}', 1, custom_hooks=hooks, load_from=str(tmp_path / 'evil.pth'))
        runner._resume = resume
        with pytest.raises(UntrustedCheckpoint, match='posix.system'):
            runner.train()
        runner.call_hook('after_run')  # which MMEngine leaves out after an error
    assert not marker.exists()
    runner = _runner(tmp_path / 'fine', 1, custom_hooks=hooks)
    runner.train()  # and afterwards all is as it was
    load_checkpoint(_Toy(), str(tmp_path / 'evil.pth'))
    assert marker.exists()


@pytest.fixture
def upstreams_loader(monkeypatch):
    """Files are loaded as by upstream's MMEngine 0.10.7: whether by weights_only is left to PyTorch."""

    def load(filename, map_location=None):
        return torch.load(filename, map_location=map_location, weights_only=True)  # the default from 2.6

    monkeypatch.setattr(CheckpointLoader, '_schemes', {'': load})


@pytest.mark.usefixtures('upstreams_loader')
@pytest.mark.parametrize('resume', [False, True])
def test_with_the_hook_upstreams_mmengine_loads_its_own_checkpoints(tmp_path, resume):
    _runner(tmp_path / 'first', 1).train()
    saved = str(tmp_path / 'first' / 'epoch_1.pth')
    options = dict(load_from=saved, resume=resume)
    with pytest.raises(UnpicklingError, match='HistoryBuffer'):
        _runner(tmp_path / 'without', 2, **options).train()
    _runner(tmp_path / 'with', 2, custom_hooks=[dict(type='mmattn.RefuseCodeHook')], **options).train()
    assert (tmp_path / 'with' / 'epoch_2.pth').is_file()
    with pytest.raises(UnpicklingError, match='HistoryBuffer'):
        load_checkpoint(_Toy(), saved)
    with refuse_code():
        load_checkpoint(_Toy(), saved)
