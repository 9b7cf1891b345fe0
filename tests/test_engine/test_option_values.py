"""``--cfg-options`` is read as by MMEngine, and what that would lose is read as Python's or refused."""

import argparse

import pytest
from mmengine.config import DictAction

from mmattn.engine.option_values import read_value


def by_mmengine(text):
    parser = argparse.ArgumentParser()
    parser.add_argument('--x', nargs='+', action=DictAction)
    return parser.parse_args(['--x', f'a={text}']).x['a']


@pytest.mark.parametrize(
    'text',
    ['3', '-1', '1e-3', 'true', 'False', 'None', 'none', '', 'a,b', '1,2', '(320,320)', '(3)', '[]', '[a,b]']
    + ['[(1,2),(3,4)]', '[ 1 , 2 ]', "['a','b']", "('a')", 'backbone.layer[2-4].*.residual', 'x=y', '1/16']
    + ['[backbone.**,neck.*]', '[None,True]', 'open(1'],
)
def test_what_mmengine_reads_right_is_read_alike(text):
    value, expected = read_value(text), by_mmengine(text)
    assert value == expected and type(value) is type(expected)


@pytest.mark.parametrize(
    'text, value',
    [
        ("dict(type='SE', reduction=8)", dict(type='SE', reduction=8)),
        ("[dict(type='EMAHook',momentum=1e-4,key=None)]", [dict(type='EMAHook', momentum=1e-4, key=None)]),
        ("{'a': [dict(b=-1.5)]}", dict(a=[dict(b=-1.5)])),
        ('dict()', {}),
        ("['1','2']", ['1', '2']),
        ("'None'", 'None'),
        ('my data/x.pth', 'my data/x.pth'),
        ('[traffic light, stop sign]', ['traffic light', 'stop sign']),
        ('1 2', '1 2'),
    ],
)
def test_what_mmengine_loses_is_kept(text, value):
    assert read_value(text) == value
    try:
        lost = by_mmengine(text)
    except RecursionError:
        lost = None
    assert lost != value  # when this fails, MMEngine has learned it


@pytest.mark.parametrize('text', ['[dict(type=SE)]', '{type:SE}', 'dict(**a)', 'dict(a=f(1))', '[{"a": 1]'])
def test_a_dict_that_is_none_is_refused(text):
    with pytest.raises(
        ValueError, match="not written as Python's values are; write for example .dict.type='EM"
    ):
        read_value(text)


@pytest.mark.parametrize('text', ['[1,2', '[1', '(a,b', '[a,b)', 'a,b]', "['a"])
def test_open_brackets_are_refused(text):
    with pytest.raises(ValueError, match='brackets are not closed'):
        read_value(text)
