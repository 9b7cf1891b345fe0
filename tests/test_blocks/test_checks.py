"""A wrong option of a block says what is possible."""

import re

import pytest

from mmattn.blocks import SE
from mmattn.blocks._checks import (
    channel_groups,
    check_bool,
    check_choice,
    check_number,
    check_options,
    check_positive_int,
)


@pytest.fixture
def block():
    return SE(24)


def test_a_value_that_is_no_choice_is_refused(block):
    check_choice(block, 'start', 'paper', ('paper', 'identity'))
    with pytest.raises(ValueError, match="^SE: start='papr'; possible: 'paper', 'identity'$"):
        check_choice(block, 'start', 'papr', ('paper', 'identity'))


@pytest.mark.parametrize('value', [0, -1, 1.0, '1', True, None])
def test_what_is_no_positive_integer_is_refused(value, block):
    check_positive_int(block, 'reduction', 16)
    with pytest.raises(ValueError, match=f'^SE: reduction={value!r}; it must be a positive integer$'):
        check_positive_int(block, 'reduction', value)


@pytest.mark.parametrize('value', ['no', 'False', 0, 1, None, []])
def test_what_is_neither_true_nor_false_is_refused(value, block):
    check_bool(block, 'bias', False)
    with pytest.raises(ValueError, match=f'^SE: bias={re.escape(repr(value))}; it must be True or False$'):
        check_bool(block, 'bias', value)


@pytest.mark.parametrize('value', ['1', None, True, float('nan'), float('inf'), [1.0]])
def test_what_is_no_number_is_refused(value, block):
    check_number(block, 'b', -0.5)
    check_number(block, 'b', 0)
    with pytest.raises(ValueError, match=f'^SE: b={re.escape(repr(value))}; it must be a number$'):
        check_number(block, 'b', value)


@pytest.mark.parametrize('value', [0, -1.5])
def test_what_is_not_positive_is_refused(value, block):
    check_number(block, 'gamma', 2.5, positive=True)
    with pytest.raises(ValueError, match=f'gamma={value}; it must be a positive number$'):
        check_number(block, 'gamma', value, positive=True)


def test_an_even_integer_is_refused_where_an_odd_one_is_needed(block):
    check_positive_int(block, 'kernel_size', 7, odd=True)
    with pytest.raises(ValueError, match='kernel_size=6; it must be an odd positive integer$'):
        check_positive_int(block, 'kernel_size', 6, odd=True)


@pytest.mark.parametrize(
    'option, text',
    [
        ('reducton', "SE has no option 'reducton'; did you mean 'reduction'? Its options: reduction, "),
        ('kernel_size', "SE has no option 'kernel_size'. Its options: "),
        ('in_channels', "SE has no option 'in_channels'. Channels are found at the site. Its options: "),
    ],
)
def test_an_unknown_option_is_refused(option, text):
    check_options(SE, ['reduction', 'start'])
    with pytest.raises(TypeError) as error:
        check_options(SE, ['reduction', option])
    assert str(error.value).startswith(text)


def test_groups_divide_the_channels(block):
    assert channel_groups(block, 'groups', None, 64) == 8  # the paper's 64 does not divide 24
    assert channel_groups(block, 'groups', 3, 64) == 3
    with pytest.raises(
        ValueError, match='groups=5; it must divide in_channels=24, as 1, 2, 3, 4, 6, 8, 12, 24'
    ):
        channel_groups(block, 'groups', 5, 64)
