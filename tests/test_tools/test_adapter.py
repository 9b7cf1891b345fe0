"""`tools/adapter.py`: a thin way to what tests/test_checkpoints/test_adapter.py tests."""

import shutil

import pytest
import torch
from mmdet.models import ResNet
from mmengine.runner.checkpoint import save_checkpoint

from mmattn import attach


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    """A checkpoint of a model, and of the same with attention."""
    folder = tmp_path_factory.mktemp('adapter')
    torch.manual_seed(0)
    model = ResNet(18, base_channels=16, stem_channels=16)
    save_checkpoint(dict(state_dict=model.state_dict(), meta=dict(epoch=3)), str(folder / 'base.pth'))
    attach(model, [dict(at='layer[34].*.residual', block=dict(type='mmattn.SE', start='identity'))])
    save_checkpoint(dict(state_dict=model.state_dict(), meta={}), str(folder / 'full.pth'))
    torch.manual_seed(1)
    other = ResNet(18, base_channels=16, stem_channels=16)
    save_checkpoint(dict(state_dict=other.state_dict(), meta={}), str(folder / 'other.pth'))
    return folder


@pytest.fixture
def adapter(files, run_tool, monkeypatch):
    """Run the tool in the folder of the files."""
    monkeypatch.chdir(files)

    def run(*args):
        done = run_tool('adapter.py', *args)
        assert done.code == 0, done.err
        return done.out

    return run


def test_save_check_merge_and_list(adapter, files):
    said = adapter('save', 'full.pth', 'a.safetensors', '--base', 'base.pth')
    # Two layers a block: 64 and 128 channels, a sixteenth of them hidden.
    assert f'a.safetensors: {2 * (2 * 64 * 4 + 4 + 64 + 2 * 128 * 8 + 8 + 128):,} weights' in said
    assert 'a.safetensors was trained on base.pth' in adapter('check', 'base.pth', 'a.safetensors')
    adapter('merge', 'base.pth', 'a.safetensors', 'merged.pth')
    merged, full = (torch.load(files / name)['state_dict'] for name in ('merged.pth', 'full.pth'))
    assert merged.keys() == full.keys() and all(v.equal(full[k]) for k, v in merged.items())
    shutil.copy(files / 'a.safetensors', files / 'layer[1-2].safetensors')
    table = adapter('list', 'a.safetensors', 'layer[1-2].safetensors')
    assert table.count("4 x (type='mmattn.SE', start='identity') at layer[3-4].[0-1].residual") == 2
    assert 'ResNet' in table and 'layer[1-2].safetensors' in table and f'torch {torch.__version__}' in table
