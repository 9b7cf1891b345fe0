"""A wrong option of a block says what is possible."""

import inspect
import math
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
from mmattn.registry import MODELS
from tests.test_blocks.cases import CASES


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


def numeric_options():
    """All options of blocks that are numbers by their annotation, with what is none of them."""
    for name in sorted(CASES):
        for option, parameter in inspect.signature(MODELS.get(name)).parameters.items():
            annotation = str(parameter.annotation)
            if option != 'in_channels' and annotation.startswith(('int', 'float')):
                wrong = ['8', math.nan, math.inf, True, [8, 8, 8], {}]
                wrong += [] if 'None' in annotation else [None]
                wrong += [2.5, -8] if annotation.startswith('int') else []
                wrong += (
                    [0] if (name, option) != ('SKConv', 'padding') and annotation.startswith('int') else []
                )
                yield from (
                    pytest.param(name, option, value, id=f'{name}-{option}={value}') for value in wrong
                )


@pytest.mark.parametrize('name, option, value', list(numeric_options()))
def test_every_number_of_every_block_is_checked(name, option, value):
    options = {**CASES[name].options, option: value}
    with pytest.raises(ValueError) as error:
        MODELS.get(name)(32, **options)
    assert str(error.value).startswith(f'{name}: {option}={value!r}; ')


def test_the_numbers_are_those_of_the_blocks():
    found = {(each.values[0], each.values[1]) for each in numeric_options()}
    assert found >= {('SE', 'reduction'), ('ECA', 'gamma'), ('SGE', 'groups'), ('BAM', 'dilation')}
    assert len(found) > 25


@pytest.mark.parametrize(
    'name, options, says',
    [
        (
            name,
            dict(reduction=1000),
            f'{name}: reduction=1000; it must be 1 to in_channels=64, or no channel is',
        )
        for name in ('SE', 'CBAM', 'ChannelAttention', 'BAM', 'SCSE', 'TemporalAttention')
    ]
    + [
        (
            'GlobalContext',
            dict(ratio=0.001),
            'ratio=0.001; for in_channels=64 it must be at least 1/64, or no',
        ),
        ('GlobalContext', dict(ratio=0), 'ratio=0; it must be a fraction of the channels, above 0'),
        ('GlobalContext', dict(ratio=-0.5), 'ratio=-0.5; it must be a fraction of the channels'),
        (
            'ECA',
            dict(kernel_size=129),
            'kernel_size=129; for in_channels=64 it must be at most 127, since wei',
        ),
        (
            'ECA',
            dict(gamma=0.01),
            'kernel_size=701 by gamma=0.01 and b=1; for in_channels=64 it must be at m',
        ),
        ('ECA', dict(kernel_size=3, gamma='x'), "gamma='x'; it must be a positive number"),
        ('ECA', dict(kernel_size=4), 'kernel_size=4; it must be an odd positive integer'),
        ('CBAM', dict(kernel_size=5), 'kernel_size=5; possible: 3, 7'),
        ('CBAM', dict(kernel_size=7.0), 'kernel_size=7.0; possible: 3, 7'),
        ('SGE', dict(groups=5), 'groups=5; it must divide in_channels=64, as 1, 2, 4, 8'),
        ('SKConv', dict(groups=5), 'groups=5; it must divide in_channels=64'),
        ('SKConv', dict(kernel_size=4), 'kernel_size=4; it must be odd and larger than 1'),
        (
            'SKConv',
            dict(stride=(1, 0)),
            r'stride=(1, 0); it must be one whole number or two, each at least 1',
        ),
    ],
)
def test_what_the_channels_do_not_allow_is_refused(name, options, says):
    with pytest.raises(ValueError, match=re.escape(says)):
        MODELS.get(name)(64, **{**CASES[name].options, **options})


def test_what_the_definition_clamps_is_taken():
    """The default reduction on narrow maps; and where the official code has a least width."""
    assert SE(8).fc1.out_channels == 1
    assert MODELS.get('CoordAttention')(64, reduction=1000).conv1.out_channels == 8
    assert MODELS.get('SKConv')(64, 64, reduction=1000).attn.fc_reduce.out_channels == 32
    assert MODELS.get('NonLocal')(64, reduction=1000).g.conv.out_channels == 1
