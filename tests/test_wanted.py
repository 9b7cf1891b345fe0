"""Which values of nested dicts fit, and under which key those are that do not."""

import pytest
from mmengine.config import Config

from mmattn.wanted import BOOL, COUNT, NOTHING, POSITIVE, SEED, TEXT, shown, unfit_values, values_at


@pytest.mark.parametrize(
    'wanted, right, wrong',
    [
        (BOOL, [True, False], [0, 1, 'False', None]),
        (COUNT, [0, 7], [-1, 1.0, '1', True, None, float('nan')]),
        (POSITIVE, [1], [0, True]),
        (SEED, [0, 2**32 - 1], [-1, 2**32, 0.5]),
        (TEXT, ['', 'x'], [b'x', None]),
        (TEXT | NOTHING, ['', None], [3, []]),
    ],
)
def test_what_fits(wanted, right, wrong):
    assert all(map(wanted.fits, right)) and not any(map(wanted.fits, wrong))


def test_two_are_said_as_one():
    assert (COUNT | NOTHING).text == 'a whole number from 0 on or None'


NODE = dict(a=dict(b=[dict(c=1), dict(c='x'), dict(d=2)]), e=None)


@pytest.mark.parametrize(
    'key, values',
    [
        ('a.b.1.c', [('a.b.1.c', 'x')]),
        ('a.b.*.c', [('a.b.0.c', 1), ('a.b.1.c', 'x')]),
        ('*', [('a', NODE['a']), ('e', None)]),
        ('e', [('e', None)]),
        ('e.x', []),
        ('a.b.7.c', []),
        ('a.b.c', []),
        ('nothing', []),
    ],
)
@pytest.mark.parametrize('node_type', [dict, Config])
def test_values_at_a_dotted_key(node_type, key, values):
    assert list(values_at(node_type(NODE), key)) == values


def test_what_does_not_fit_has_its_own_key():
    keys = {'a.b.*.c': COUNT, 'e': COUNT | NOTHING, 'f': COUNT}
    assert list(unfit_values(NODE, keys)) == [('a.b.1.c', 'x', COUNT)]


def test_a_long_value_is_shown_in_part():
    assert shown('x') == "'x'" and len(shown('x' * 1000)) == 80
