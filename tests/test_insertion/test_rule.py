"""How a rule is read from a config, and what is said of one that cannot be."""

import pytest

from mmattn.insertion.rule import Rule, parse_rule

SE = dict(type='mmattn.SE')


@pytest.mark.parametrize(
    'rules, error, text',
    [
        ([], ValueError, 'no rule was given, so there is nothing to insert; a rule is dict.at='),
        (
            [dict(at='layer4', except_=[''], block=SE)],
            ValueError,
            "a rule's 'except_' is a glob or a list of globs",
        ),
        ([dict(at='layer4', order='first', block=SE)], ValueError, "'order' is an integer; got 'first'"),
        ([dict(at='layer4', block=dict(type=None))], ValueError, 'is a config with a type'),
        ([dict(at=3, block=SE)], ValueError, 'a glob or a list of globs; got 3'),
        ([dict(at='layer4', block=SE, freeze_with_host='no')], ValueError, "True or False; got 'no'"),
        (None, TypeError, 'a list of rules is needed, such as .*; got None'),
        ('layer4', TypeError, "a list of rules is needed, such as .*; got 'layer4'"),
        ([dict(at='layer4', block='mmattn.SE')], ValueError, 'is a config with a type'),
        ([dict(at='layer4')], KeyError, "a rule needs 'block'"),
        ([dict(block=SE)], KeyError, "a rule needs 'at'"),
        ([dict(at='layer4', blok=SE)], KeyError, "a rule has no 'blok'; it has at, block"),
        ([dict(at=[], block=SE)], ValueError, 'a glob or a list of globs'),
        (['layer4'], TypeError, 'a rule is a dict such as'),
    ],
)
def test_what_is_no_rule(rules, error, text, refused):
    refused(rules, error, text)


def test_a_dict_and_a_rule_are_the_same():
    rule = parse_rule({'at': 'layer4', 'except': ['layer4.0'], 'block': SE, 'order': 2})
    assert rule == Rule(('layer4',), SE, ('layer4.0',), 2)
    assert parse_rule(rule) is rule
    assert str(rule) == "rule at='layer4'" and str(Rule(('a', 'b'), SE)) == "rule at=['a', 'b']"
