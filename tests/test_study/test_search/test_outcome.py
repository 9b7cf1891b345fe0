"""The table of trials, what mattered, and the winner as a config."""

import csv
import io
import os
import random

import optuna
import pytest
from mmengine.config import Config
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState, create_trial

from mmattn.study.search.outcome import (
    best_trial,
    importances,
    write_best_config,
    write_confirmation,
    write_trials,
)
from mmattn.study.search.settings import read_search

PLAIN = 'configs/retinanet/retinanet_r18_fpn_1x_coco.py'
INSERT = [dict(at='backbone.layer4.*.residual', block=dict(type='mmattn.SE', reduction=8))]


@pytest.fixture
def search():
    """Trials whose metric follows from the block and a little chance, and not from the learning rate."""
    chance = random.Random(0)
    search = optuna.create_study(direction='maximize')
    for i in range(40):
        block, lr = ('SE', 'ECA')[i % 2], 0.001 * (1 + i % 10)
        search.add_trial(
            create_trial(
                params={'block': block, 'lr': lr},
                distributions={
                    'block': CategoricalDistribution(('SE', 'ECA')),
                    'lr': FloatDistribution(0.001, 0.01),
                },
                value=0.5 if i == 4 else 0.3 + 0.1 * (block == 'SE') + 0.001 * chance.random(),
                user_attrs=dict(folder=f'f{i}'),
            )
        )
    search.add_trial(create_trial(state=TrialState.FAIL, user_attrs=dict(folder='x', error='broke, "so"')))
    search.add_trial(create_trial(state=TrialState.FAIL, user_attrs=dict(folder='y')))  # interrupted
    search.add_trial(
        create_trial(
            state=TrialState.PRUNED, value=0.9, intermediate_values={1: 0.9}, user_attrs=dict(folder='z')
        )
    )
    return search


def test_the_best_came_to_its_end(search):
    best = best_trial(search)
    assert best.params == {'block': 'SE', 'lr': 0.005} and best.number == 4
    assert best_trial(optuna.create_study()) is None


def test_what_matters_is_told(search):
    found = importances(search)
    assert found['block'] > 2 * found['lr'] and abs(sum(found.values()) - 1) < 1e-9
    assert importances(optuna.create_study()) == {}


def test_the_table_has_what_ended(search, tmp_path):
    write_trials(search, tmp_path / 'trials.csv')
    rows = list(csv.DictReader(io.StringIO((tmp_path / 'trials.csv').read_text())))
    assert len(rows) == 42 and [row['folder'] for row in rows].count('y') == 0
    assert (rows[4]['metric'], rows[4]['block'], rows[4]['lr']) == ('0.5', 'SE', '0.005')
    assert rows[40] | {'error': 'broke, "so"', 'state': 'fail', 'metric': ''} == rows[40]
    assert rows[41] | {'state': 'pruned', 'metric': '', 'evaluations': '1'} == rows[41]


def _whole(changes):
    """What a trial's config is."""
    cfg = Config.fromfile(PLAIN)
    changes = dict(changes)
    insert = changes.pop('insert')
    cfg.merge_from_dict(changes)
    cfg.model.detector, cfg.model.type, cfg.model.insert = cfg.model.type, 'mmattn.WithAttention', insert
    return cfg


@pytest.mark.usefixtures('in_project')
@pytest.mark.parametrize(
    'changes, brief',
    [
        (dict(insert=INSERT, optim_wrapper=dict(optimizer=dict(lr=0.002))), True),
        ({'insert': INSERT, 'param_scheduler.0.end': 100}, False),  # a position in a list
    ],
)
def test_the_winner_is_an_ordinary_config(changes, brief, tmp_path):
    expected = _whole(changes)
    write_best_config(tmp_path / 'best.py', os.path.abspath(PLAIN), changes, expected)
    found = Config.fromfile(tmp_path / 'best.py')
    assert found.to_dict() == expected.to_dict()
    text = (tmp_path / 'best.py').read_text()
    assert (len(text.splitlines()) < 12 and '_base_' in text) == brief


def test_the_winner_is_confirmed_with_other_seeds(tmp_path):
    variant = dict(insert=dict(choices=[INSERT, INSERT * 2]))
    asked = dict(base='base.py', budget=dict(max_epochs=2), search=dict(variant=variant, trials=5, seed=3))
    settings = read_search('search.py', asked)
    write_confirmation(tmp_path / 'confirmation.py', settings, 'configs/base.py', dict(insert=INSERT))
    study = Config.fromfile(tmp_path / 'confirmation.py').to_dict()
    assert study == dict(
        base=os.path.abspath('configs/base.py'),
        budget=dict(max_epochs=2),
        variants=dict(winner=dict(insert=INSERT)),
        controls=['plain'],
        seeds=[4, 5, 6, 7, 8],
    )


@pytest.mark.parametrize(
    'change, says',
    [
        (dict(trials=0), 'search.trials is 0'),
        (dict(trials='many'), "search.trials is 'many'"),
        (dict(sampler='bayes'), "search.sampler has 'bayes'; possible: 'tpe', 'random', 'grid'"),
        (dict(pruner='asha'), "search.pruner has 'asha'"),
        (dict(variants={}), "'variants'"),
        (dict(seed=-1), 'search.seed is -1'),
    ],
)
def test_what_is_no_search(change, says):
    asked = dict(base='b.py', search=dict(dict(variant=dict(lr=dict(choices=[1, 2])), trials=3), **change))
    with pytest.raises((ValueError, KeyError), match=says):
        read_search('search.py', asked)


def test_a_winner_is_not_confirmed_with_the_seed_of_the_search():
    asked = dict(base='b.py', search=dict(variant=dict(lr=dict(choices=[1, 2])), trials=3))
    with pytest.raises(ValueError, match='confirmed with other seeds'):
        read_search('search.py', asked | dict(confirm=dict(seeds=[0, 1])))
