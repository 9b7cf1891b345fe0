"""The search finds the optimum of a known landscape, alone and by two processes; what is killed goes on."""

import multiprocessing
import os
import signal
import socket
import time
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from mmattn.study.lock import is_locked
from mmattn.study.search.loop import optimize
from mmattn.study.search.settings import read_search
from mmattn.study.search.storage import (
    ended,
    error_of,
    open_search,
    open_storage,
    queue_interrupted,
    quiet_optuna,
    sign,
)

VARIANT = dict(
    block=dict(
        choices=[
            dict(type='SE', reduction=dict(low=1, high=64, log=True)),
            dict(type='CBAM', kernel=dict(choices=[3, 5, 7])),
            dict(type='ECA'),
        ]
    ),
    lr=dict(low=1e-4, high=1.0, log=True),
)


def asked(**search):
    return dict(base='base.py', search=dict(dict(variant=VARIANT, trials=60, pruner='none'), **search))


def landscape(variant):
    """Highest, 1.0, for CBAM with kernel 7 and a learning rate of 0.01."""
    import math

    block = variant['block']
    height = {'SE': 0.6 - abs(math.log2(block.get('reduction', 1)) - 4) / 20, 'ECA': 0.5}.get(
        block['type'], {3: 0.7, 5: 0.8, 7: 1.0}.get(block.get('kernel'))
    )
    return height - 0.1 * abs(math.log10(variant['lr']) + 2)


def train(variant, folder, watch):
    return landscape(variant)


def work(folder, sampler_seed, name='search', delay=0.0, trials=60, storage=None):
    """What one process does."""

    def slow(variant, place, watch):
        time.sleep(delay)
        return landscape(variant)

    settings = read_search('search.py', asked(trials=trials))
    with quiet_optuna():
        search = open_search(name, open_storage(storage, Path(folder)), 'tpe', 'none', sampler_seed)
        queue_interrupted(search, Path(folder, 'trials'))
        optimize(search, settings, Path(folder, 'trials'), slow, tell=lambda line: None)
    return search


def best(search):
    return max(ended(search), key=lambda trial: trial.value)


def test_the_optimum_of_a_landscape_is_found(tmp_path):
    trial = best(work(tmp_path, 0))
    assert trial.params['block'] == 'CBAM' and trial.params['block.CBAM.kernel'] == 7
    assert 0.003 < trial.params['lr'] < 0.03


def test_a_grid_tries_all_and_ends(tmp_path):
    variant = dict(block=dict(choices=[dict(type='CBAM', kernel=dict(choices=[3, 5, 7])), dict(type='ECA')]))
    variant['lr'] = dict(choices=[0.1, 0.01])
    settings = read_search('search.py', asked(variant=variant, sampler='grid', trials=100))
    with quiet_optuna():
        search = open_search('grid', open_storage(None, tmp_path), 'grid', 'none', 0)
        optimize(search, settings, tmp_path / 'trials', train, tell=lambda line: None)
    found = sorted(tuple(trial.params.values()) for trial in ended(search))
    assert len(found) == len(set(found)) == 8


@pytest.mark.parametrize('storage', [None, 'sqlite:///{}/search.db'], ids=['journal', 'sqlite'])
def test_two_processes_work_on_one_storage(storage, tmp_path):
    storage = storage and storage.format(tmp_path)
    context = multiprocessing.get_context('fork')
    processes = [
        context.Process(
            target=work, args=(tmp_path, seed), kwargs=dict(delay=0.02, trials=30, storage=storage)
        )
        for seed in (0, 1)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        assert process.exitcode == 0
    with quiet_optuna():
        search = open_search('search', open_storage(storage, tmp_path), 'tpe', 'none', 0)
    trials = ended(search)
    assert 30 <= len(trials) <= 31  # both may be at their last trial
    assert [trial.number for trial in trials] == list(range(len(trials)))
    assert best(search).params['block'] == 'CBAM'


def test_a_trial_that_was_killed_goes_on_in_its_folder(tmp_path):
    context = multiprocessing.get_context('fork')
    process = context.Process(target=work, args=(tmp_path, 0), kwargs=dict(delay=60))
    process.start()
    while not list(tmp_path.glob('trials/*/trial.lock')):
        time.sleep(0.05)
    with quiet_optuna():
        search = open_search('search', open_storage(None, tmp_path), 'tpe', 'none', 0)
    assert queue_interrupted(search, tmp_path / 'trials') == 0  # it runs
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    (folder,) = tmp_path.glob('trials/*')
    found = work(tmp_path, 1, trials=2)
    first, *others = found.get_trials()
    assert first.state == TrialState.FAIL and error_of(first) is None
    assert [trial.user_attrs['folder'] for trial in others][0] == folder.name
    assert others[0].params == first.params and len(ended(found)) == 2


def locked_for_others(lock):
    """Ask in another process: a process has its own locks."""
    child = os.fork()
    if not child:
        os._exit(int(is_locked(lock)))
    return bool(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def test_a_trial_has_its_lock_until_the_storage_knows_its_end(tmp_path):
    """Else another process would take it for one that was killed."""
    seen = []

    class Sampler(optuna.samplers.RandomSampler):
        def after_trial(self, search, trial, state, values):
            lock = tmp_path / 'trials' / trial.user_attrs['folder'] / 'trial.lock'
            seen.append((lock, locked_for_others(lock)))

    settings = read_search('search.py', asked(trials=3))
    with quiet_optuna():
        search = open_search('search', open_storage(None, tmp_path), 'random', 'none', 0)
        search.sampler = Sampler(seed=0)
        optimize(search, settings, tmp_path / 'trials', train, tell=lambda line: None)
    assert [locked for _, locked in seen] == [True] * 3
    assert not any(locked_for_others(lock) for lock, _ in seen)


@pytest.mark.parametrize('attributes', [{}, dict(host=socket.gethostname())])
def test_a_trial_that_has_just_begun_is_left_alone(attributes, tmp_path):
    with quiet_optuna():
        search = open_search('search', open_storage(None, tmp_path), 'random', 'none', 0)
    trial = search.ask()
    for name, value in attributes.items():
        trial.set_user_attr(name, value)
    assert queue_interrupted(search, tmp_path / 'trials') == 0
    assert [each.state for each in search.get_trials()] == [TrialState.RUNNING]


@pytest.mark.parametrize('others', ['ended it', 'found it too'])
def test_a_trial_that_ends_while_one_looks_is_left_alone(others, tmp_path, monkeypatch):
    from optuna.exceptions import UpdateFinishedTrialError

    with quiet_optuna():
        search = open_search('search', open_storage(None, tmp_path), 'random', 'none', 0)
    trial = search.ask()
    sign(trial, tmp_path / 'trials' / 'x')
    listed = search.get_trials()
    listings = [listed, *([listed] if others == 'found it too' else [])]
    search.tell(trial.number, 0.5)
    known = search.get_trials
    monkeypatch.setattr(search, 'get_trials', lambda **_: listings.pop(0) if listings else known())

    def refuse(number, **_):
        raise UpdateFinishedTrialError

    monkeypatch.setattr(search, 'tell', refuse)
    assert queue_interrupted(search, tmp_path / 'trials') == 0
    assert [each.state for each in known()] == [TrialState.COMPLETE] and not listings


def test_a_trial_that_falls_behind_is_stopped(tmp_path):
    evaluations = []

    def by_steps(variant, folder, watch):
        for step in range(1, 11):
            evaluations.append(step)
            value = landscape(variant) * step / 10
            if watch(step, value):
                return value
        return value

    lines = []
    settings = read_search('search.py', asked(trials=40, pruner='median'))
    with quiet_optuna():
        search = open_search('search', open_storage(None, tmp_path), 'random', 'median', 0)
        optimize(search, settings, tmp_path / 'trials', by_steps, lines.append)
    states = [trial.state for trial in ended(search)]
    assert states.count(TrialState.PRUNED) > 10 and len(evaluations) < 300
    assert len(lines) == 40 and any('stopped after evaluation 1;' in line for line in lines)
    assert lines[-1].startswith('trial 39 (40 of 40): ') and 'left' not in lines[-1]
    assert best(search).state == TrialState.COMPLETE


def test_a_trial_that_fails_is_told_and_the_others_go_on(tmp_path):
    def failing(variant, folder, watch):
        if variant['block']['type'] == 'SE':
            raise RuntimeError('no SE here')
        return landscape(variant)

    lines = []
    settings = read_search('search.py', asked(trials=12))
    with quiet_optuna():
        search = open_search('search', open_storage(None, tmp_path), 'random', 'none', 0)
        optimize(search, settings, tmp_path / 'trials', failing, lines.append)
    failed = [trial for trial in ended(search) if trial.state == TrialState.FAIL]
    assert failed and all(error_of(trial) == 'no SE here' for trial in failed)
    assert sum('FAILED: no SE here; block=SE' in line for line in lines) == len(failed) < 12
    assert len(lines) == 12


def test_a_search_that_is_finished_does_nothing(tmp_path):
    work(tmp_path, 0, trials=3)

    def never(*_):
        raise AssertionError

    with quiet_optuna():
        search = open_search('search', open_storage(None, tmp_path), 'tpe', 'none', 0)
        optimize(search, read_search('search.py', asked(trials=3)), tmp_path / 'trials', never)
    assert len(ended(search)) == 3


def test_optuna_is_quiet_only_within():
    before = optuna.logging.get_verbosity()
    with quiet_optuna():
        assert optuna.logging.get_verbosity() == optuna.logging.ERROR
    assert optuna.logging.get_verbosity() == before
