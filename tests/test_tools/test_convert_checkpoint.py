"""`tools/convert_checkpoint.py`: a thin way to what tests/test_checkpoints/test_convert tests."""

import torch

from tests.test_checkpoints.test_convert.helpers import peer


def test_there_and_back(run_tool, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    weights = peer().state_dict()
    torch.save(weights, 'theirs.pth')
    done = run_tool('convert_checkpoint.py', 'theirs.pth', 'ours.pth')
    assert done.code == 0, done.err
    assert (
        'source: timm ResNet with SE or ECA, timm seresnet18\n' in done.out
        and "load_from = 'ours.pth'" in done.out
    )
    done = run_tool('convert_checkpoint.py', 'ours.pth', 'back.pth', '--to', 'timm')
    assert done.code == 0, done.err
    assert done.out.startswith('model: timm seresnet18\nweights: ') and 'without a classifier' in done.out
    back = torch.load('back.pth')
    assert all(back[key].equal(value) for key, value in weights.items() if not key.startswith('fc.'))


def test_mistakes_end_with_the_message_alone(run_tool, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({'a.weight': torch.zeros(1)}, 'a.pth')
    done = run_tool('convert_checkpoint.py', 'a.pth', 'out.pth')
    assert done.code == 2 and 'Traceback' not in done.err
    assert 'convert_checkpoint.py: the names of the weights are not those of a known source: ' in done.err
    assert not (tmp_path / 'out.pth').exists()
    done = run_tool('convert_checkpoint.py', 'a.pth', 'out.pth', '--start', 'paper')
    assert done.code == 2 and '--start goes with --to timm' in done.err
