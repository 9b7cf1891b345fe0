"""RefuseCodeHook guards a run of any tool, MMDetection's own too."""

import pytest
from mmengine.runner import load_checkpoint

from mmattn.checkpoints import UntrustedCheckpoint
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
