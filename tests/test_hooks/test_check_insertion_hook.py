"""CheckInsertionHook is found by its scope, and the tools add it."""

import logging

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import EMAHook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from mmengine.runner.checkpoint import save_checkpoint

from mmattn import engine
from mmattn.engine import launch
from tests.test_insertion.models import build, everywhere, model_cfg, narrow

SAID = 'THE CHECKPOINT HAS ATTENTION AND THE MODEL HAS NONE'


def test_it_is_found_by_its_scope():
    from mmattn.hooks import CheckInsertionHook

    assert type(HOOKS.build(dict(type='mmattn.CheckInsertionHook'))) is CheckInsertionHook
    assert HOOKS.build(dict(type='mmattn.CheckInsertionHook')).priority == 'VERY_HIGH'
    assert HOOKS.build(dict(type='EMAHook')).__class__ is EMAHook


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / 'with_attention.pth'
    save_checkpoint(
        dict(meta={}, state_dict=build(narrow(model_cfg(insert=everywhere()))).state_dict()), str(path)
    )
    return str(path)


@pytest.mark.parametrize('ema', [False, True])
def test_a_runner_with_it_warns_before_anything_else(checkpoint, tmp_path, ema):
    hooks = [dict(type='EMAHook')] * ema + [dict(type='mmattn.CheckInsertionHook')]
    cfg = dict(default_scope='mmdet', work_dir=str(tmp_path), custom_hooks=hooks, load_from=checkpoint)
    runner = Runner(model=build(narrow(model_cfg())), **cfg)
    warnings, handler = [], logging.Handler(logging.WARNING)
    handler.emit = lambda record: warnings.append(record.getMessage())
    runner.logger.addHandler(handler)  # each runner has its own logger
    for hook in runner.hooks:
        if isinstance(hook, EMAHook):
            hook.before_run(runner)
    runner.load_or_resume()
    assert SAID in warnings[0] and "detector='FasterRCNN', insert=[dict(at=" in warnings[0]
    assert len([w for w in warnings if SAID in w]) == 1


@pytest.mark.parametrize('own', [None, [], [dict(type='EMAHook')], [dict(type='mmattn.CheckInsertionHook')]])
@pytest.mark.parametrize('command', ['train', 'test'])
def test_the_tools_install_it_once(command, own, tmp_path, monkeypatch):
    class Built(Exception):
        pass

    def stop(cfg):
        raise Built(cfg)

    config, weights = tmp_path / 'config.py', tmp_path / 'weights.pth'
    Config(dict(model=dict(type='RetinaNet'), custom_hooks=own)).dump(str(config))
    torch.save(dict(state_dict=dict(weight=torch.ones(1))), weights)
    monkeypatch.setattr(launch, '_build_runner', stop)
    monkeypatch.setattr(launch, 'prepare_data', lambda *_: None)
    with pytest.raises(Built) as built:
        getattr(engine, command)(str(config), *([str(weights)] if command == 'test' else []))
    types = [hook['type'] for hook in built.value.args[0].custom_hooks]
    assert types.count('mmattn.CheckInsertionHook') == types.count('mmattn.CheckDataHook') == 1
    ours = {'mmattn.CheckInsertionHook', 'mmattn.CheckDataHook'}
    if command == 'train':
        ours.add('mmattn.ExactResumeHook')
    assert len(types) == len({*(hook['type'] for hook in own or ()), *ours})


@pytest.mark.parametrize(
    'insert, text',
    [
        (everywhere(), None),
        (None, 'with other attention.*To resume it, write\n  insert=.*use load_from without resume'),
    ],
)
def test_a_run_is_resumed_with_its_own_attention_only(checkpoint, tmp_path, insert, text):
    insert = insert or [dict(at='backbone.**.residual', block=dict(type='mmattn.SE'))]
    runner = Runner(
        model=build(narrow(model_cfg(insert=insert))),
        default_scope='mmdet',
        load_from=checkpoint,
        work_dir=str(tmp_path),
        custom_hooks=[dict(type='mmattn.CheckInsertionHook')],
    )
    runner.load_checkpoint(checkpoint)  # another one may be loaded, with a warning
    runner._resume = True
    if text is None:
        runner.load_checkpoint(checkpoint)
    else:
        with pytest.raises(ValueError, match='(?s)' + text):
            runner.load_checkpoint(checkpoint)
