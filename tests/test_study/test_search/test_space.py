"""Choices and ranges in a variant, and what is none."""

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from mmattn.study.search.space import check_space, choose, cover, labels_of

SE = dict(type='mmattn.SE', reduction=dict(low=4, high=32, log=True))
SPACE = dict(
    insert=[
        dict(
            at=dict(choices=['backbone.layer4.*.residual', 'neck.output']),
            block=dict(choices=[SE, dict(type='mmattn.ECA'), dict(type='mmattn.CBAM', kernel_size=(3, 7))]),
        )
    ],
    optim_wrapper=dict(optimizer=dict(lr=dict(low=1e-3, high=1e-1, log=True))),
    momentum=dict(low=0.5, high=0.9, step=0.1),
)


def test_a_trial_chooses_what_its_choices_need():
    search = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    seen = set()
    for _ in range(60):
        trial = search.ask()
        chosen = choose(trial, SPACE)
        block = chosen['insert'][0]['block']
        seen.add((chosen['insert'][0]['at'], block['type']))
        expected = {
            'insert.0.at': CategoricalDistribution(('backbone.layer4.*.residual', 'neck.output')),
            'insert.0.block': CategoricalDistribution(('SE', 'ECA', 'CBAM')),
            'optim_wrapper.optimizer.lr': FloatDistribution(1e-3, 1e-1, log=True),
            'momentum': FloatDistribution(0.5, 0.9, step=0.1),
        }
        if block['type'] == 'mmattn.SE':
            expected['insert.0.block.SE.reduction'] = IntDistribution(4, 32, log=True)
            assert 4 <= block['reduction'] <= 32
        assert trial.distributions == expected
        assert block.get('kernel_size', (3, 7)) == (3, 7)
    assert len(seen) == 6


def test_the_space_is_not_changed():
    before = repr(SPACE)
    choose(optuna.create_study().ask(), SPACE)
    assert repr(SPACE) == before


def test_labels_tell_apart():
    same = [dict(type='mmattn.SE', reduction=8), dict(type='mmattn.SE', reduction=16), '8', 8, None]
    assert labels_of(same) == ['SE(reduction=8)', 'SE(reduction=16)', "'8'", '8', None]


def test_each_choice_and_end_is_covered():
    variants = cover(SPACE)
    blocks = [variant['insert'][0]['block'] for variant in variants]
    assert {block['type'] for block in blocks} == {'mmattn.SE', 'mmattn.ECA', 'mmattn.CBAM'}
    assert {block.get('reduction') for block in blocks} == {4, 32, None}
    assert {variant['insert'][0]['at'] for variant in variants} == {
        'backbone.layer4.*.residual',
        'neck.output',
    }
    assert {variant['optim_wrapper']['optimizer']['lr'] for variant in variants} == {1e-3, 1e-1}
    assert len(variants) == 4
    check_space(SPACE)


@pytest.mark.parametrize(
    'space, grid, says',
    [
        ({}, False, 'is a dict of changes'),
        ([1], False, 'is a dict of changes'),
        (dict(lr=0.1), False, 'there is nothing to choose'),
        (dict(a=dict(choices=[])), False, r'a has choices=\[\]; it is a list with at least one value'),
        (dict(a=dict(choices='SE')), False, "a has choices='SE'"),
        (dict(a=dict(choices=[1, 2, 1])), False, 'a has the choice 1 twice'),
        (dict(a=dict(low=1)), False, "a is {'low': 1}; a choice is"),
        (dict(a=dict(low=1, hihg=2)), False, 'a choice is'),
        (dict(a=dict(low=2, high=1)), False, 'low is a number below high'),
        (dict(a=dict(low='1', high=2)), False, 'low is a number below high'),
        (dict(a=dict(low=0, high=2, log=True)), False, 'begins above 0'),
        (dict(a=dict(low=1, high=2, log=True, step=1)), False, 'has no step'),
        (dict(a=dict(low=1, high=2, step=0)), False, 'it is above 0'),
        (dict(a=dict(low=0.0, high=1.0)), True, r'a is a range without step, of which sampler=.grid. cannot'),
        (
            dict(insert=[dict(block=dict(choices=[dict(type='mmattn.SE', reduction=dict(low=9, high=1))]))]),
            False,
            r'insert\.0\.block\.SE\.reduction is',
        ),
    ],
)
def test_what_is_no_space(space, grid, says):
    with pytest.raises(ValueError, match=says):
        check_space(space, grid)
