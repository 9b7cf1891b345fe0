"""What the page says of a run is what the run was."""

from types import SimpleNamespace

import pytest
from mmengine.config import Config
from torch import nn

from mmattn.blocks import SE
from mmattn.demo.facts import facts_of


def runner_of(model):
    cfg = dict(
        train_cfg=dict(max_iters=7),
        train_dataloader=dict(batch_size=3),
        val_dataloader=dict(dataset=dict(data_root='data/shapes/')),
    )
    return SimpleNamespace(
        cfg=Config(cfg),
        model=model,
        timestamp='20260102_030405',
        train_dataloader=SimpleNamespace(dataset=range(5)),
        val_dataloader=SimpleNamespace(dataset=range(4)),
    )


def test_what_a_run_was():
    facts = facts_of(
        runner_of(nn.Conv2d(2, 3, 1)), 'configs/a.py', 'python a.py', dict(data=1.2, training=60)
    )
    assert facts.pop('machine') and 'torch' in facts.pop('versions')
    assert facts == dict(
        config='configs/a.py',
        command='python a.py',
        started='2026-01-02 03:04',
        took='data 1 s, training 60 s',
        training='7 iterations of 3 images',
        data='5 images to train on, 4 to validate on, in data/shapes/',
        detector='9 parameters, no attention',
    )


@pytest.mark.parametrize('number, sites', [(1, 'SE at 1 site'), (2, 'SE at 2 sites')])
def test_the_attention_of_a_detector(number, sites):
    block = sum(p.numel() for p in SE(32).parameters())
    model = nn.Sequential(nn.Conv2d(2, 32, 1), *(SE(32) for _ in range(number)))
    text = facts_of(runner_of(model), 'a.py', '', {})['detector']
    assert text == f'{96 + number * block:,} parameters, of them {number * block:,} of attention: {sites}'


def test_without_a_command_none_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    facts = facts_of(runner_of(nn.ReLU()), str(tmp_path / 'configs/a.py'), '', {})
    assert 'command' not in facts and 'took' not in facts
    assert facts['config'] == 'configs/a.py'
    assert facts_of(runner_of(nn.ReLU()), '/elsewhere/a.py', '', {})['config'] == '/elsewhere/a.py'
