"""At every moment of a run, `last_checkpoint` names a whole checkpoint."""

import itertools
import os
import sys
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.model import BaseModel
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from mmattn.engine import whole_files
from mmattn.hooks import CheckpointHook, checkpoint_hook
from tests.squares import as_arguments, small, write_squares
from tests.test_files import on_a_small_disk

RUNS = itertools.count()


class Toy(BaseModel):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def forward(self, x, mode='loss'):
        return dict(loss=self.weight.sum()) if mode == 'loss' else [dict(x=1)]

    def train_step(self, data, optim_wrapper):
        loss = self(data)['loss']
        optim_wrapper.update_params(loss)
        return dict(loss=loss)

    def val_step(self, data):
        return self(data, 'predict')


class Score(BaseMetric):
    """Goes up, down, and up again."""

    scores = ()
    calls = 0

    def process(self, data_batch, data_samples):
        self.results.append(0)

    def compute_metrics(self, results):
        Score.calls += 1
        return OrderedDict(acc=Score.scores[Score.calls - 1])


def train(work_dir, scores=(1, 3, 2, 4), resume=False, **options):
    Score.scores, Score.calls = scores, 0
    loader = DataLoader(list(range(2)))
    runner = Runner(
        Toy(),
        str(work_dir),
        train_dataloader=loader,
        val_dataloader=loader,
        train_cfg=dict(by_epoch=True, max_epochs=len(scores), val_interval=1),
        val_cfg=dict(),
        val_evaluator=Evaluator(Score()),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        default_hooks=dict(checkpoint=dict(type='mmattn.CheckpointHook', **{'interval': 1, **options})),
        resume=resume,
        experiment_name=str(next(RUNS)),  # each run has a message hub of its own
    )
    runner.train()
    return runner


@pytest.fixture
def watched(tmp_path, monkeypatch):
    """Call the returned function's checks around every write and removal of the run."""
    found = []

    def check():
        last = tmp_path / 'last_checkpoint'
        if last.exists():
            checkpoint = torch.load(last.read_text(), weights_only=False)
            best = checkpoint['message_hub']['runtime_info'].get('best_ckpt')
            assert best is None or Path(best).is_file(), 'the best checkpoint is missing'
            found.append(checkpoint['meta']['epoch'])

    def around(function):
        def wrapped(*args, **kwargs):
            check()
            result = function(*args, **kwargs)
            check()
            return result

        return wrapped

    for where, name in ((whole_files, 'write_file'), (checkpoint_hook, 'write_file'), (os, 'remove')):
        monkeypatch.setattr(where, name, around(getattr(where, name)))
    return found


def test_it_is_found_by_its_scope():
    assert type(HOOKS.build(dict(type='mmattn.CheckpointHook'))) is CheckpointHook


@pytest.mark.parametrize('keep', [1, 2, -1])
def test_a_whole_checkpoint_is_there_at_any_moment(tmp_path, watched, keep):
    train(tmp_path, save_best='acc', max_keep_ckpts=keep)
    assert watched == sorted(watched) and set(watched) == {1, 2, 3, 4}
    kept = range(1, 5)[-keep:] if keep > 0 else range(1, 5)
    assert sorted(path.name for path in tmp_path.glob('*.pth')) == sorted(
        ['best_acc_epoch_4.pth', *(f'epoch_{i}.pth' for i in kept)]
    )
    assert (tmp_path / 'last_checkpoint').read_text() == str(tmp_path / 'epoch_4.pth')


def test_the_same_best_epoch_again_is_not_removed(tmp_path):
    train(tmp_path, scores=(1, 2), save_best='acc')
    runner = train(tmp_path, scores=(1, 2), save_best='acc', resume=True)
    hook = next(hook for hook in runner.hooks if isinstance(hook, CheckpointHook))
    hook._save_best_checkpoint(runner, dict(acc=5))  # as if it had been evaluated anew
    assert (tmp_path / 'best_acc_epoch_2.pth').is_file()


def test_a_resumed_run_saves_the_best_again_too(tmp_path):
    """MMEngine's does so only after a checkpoint of its own; the resumed run would have other files."""
    train(tmp_path, scores=(1,), save_best='acc', interval=5)
    train(tmp_path, scores=(2, 3, 4, 5), save_best='acc', interval=5, resume=True)
    assert {path.name for path in tmp_path.glob('epoch*')} == {f'epoch_{i}.pth' for i in (1, 2, 3, 4)}


@pytest.mark.parametrize('stage', ['before last_checkpoint', 'before the removal'])
def test_what_a_killed_run_did_not_remove_is_removed_when_it_goes_on(tmp_path, monkeypatch, stage):
    class Killed(BaseException):
        pass

    def kill(*_):
        raise Killed

    with monkeypatch.context() as patch:
        train(tmp_path, scores=(1, 2), max_keep_ckpts=1)
        name = 'write_file' if stage == 'before last_checkpoint' else '_remove'
        patch.setattr(checkpoint_hook, name, kill)
        with pytest.raises(Killed):
            train(tmp_path, scores=(1, 2, 3), max_keep_ckpts=1, resume=True)
    assert {path.name for path in tmp_path.glob('*.pth')} == {'epoch_2.pth', 'epoch_3.pth'}
    last = 2 if stage == 'before last_checkpoint' else 3
    assert (tmp_path / 'last_checkpoint').read_text() == str(tmp_path / f'epoch_{last}.pth')
    train(tmp_path, scores=(1, 2, 3, 4), max_keep_ckpts=1, resume=True)
    assert {path.name for path in tmp_path.glob('*.pth')} == {'epoch_4.pth'}


@pytest.mark.slow
def test_a_full_disk_ends_a_run_with_a_message(tmp_path, request):
    squares, work_dir = write_squares(tmp_path / 'squares'), tmp_path / 'work'
    work_dir.mkdir()
    config = request.config.rootpath / 'configs/cbam/retinanet_r18-cbam_fpn_folder.py'
    train_py = request.config.rootpath / 'tools/train.py'
    options = as_arguments(small(train_cfg__max_epochs=3, train_cfg__val_interval=10))
    # What is left is looked at from within: the disk ends with the command.
    script = (
        f'{sys.executable} "$@"; code=$?; cat {work_dir}/last_checkpoint; echo; ls {work_dir}; '
        f"{sys.executable} -c \"import torch; torch.load(open('{work_dir}/last_checkpoint').read(), "
        f"weights_only=False)['optimizer']\" && exit $code"
    )
    command = [train_py, config, '--work-dir', work_dir, '--data-root', squares, *options]
    done = on_a_small_disk(work_dir, '140m', ['sh', '-c', script, 'sh', *map(str, command)], timeout=300)
    assert done.returncode == 2, done.stdout[-2000:] + done.stderr[-5000:]
    (line,) = (line for line in done.stderr.splitlines() if line.startswith('train.py:'))
    assert line.startswith(f"train.py: the disk is full: '{work_dir}/epoch_2.pth' was not written; it takes ")
    assert line.endswith(f'free some space, and go on with --resume, from {work_dir}/epoch_1.pth')
    assert 'Traceback' not in done.stderr
    assert f'{work_dir}/epoch_1.pth\n' in done.stdout and 'epoch_2' not in done.stdout.splitlines()[-10:]
