from functools import partial

import pytest
import torch

from mmattn.blocks import EMA
from tests.reference.ema import ema
from tests.test_blocks.helpers import check_against, randomise, smooth_map


@pytest.mark.parametrize('channels, factor', [(8, 2), (5, 1), (3, 3)])
def test_is_the_formula(channels, factor):
    block = randomise(EMA(channels, factor))
    check_against(partial(ema, factor=factor), block, smooth_map(2, channels, 5, 3))


def test_has_the_official_names_and_shapes():
    assert {k: tuple(v.shape) for k, v in EMA(256).state_dict().items()} == {
        'gn.weight': (8,),
        'gn.bias': (8,),
        'conv1x1.weight': (8, 8, 1, 1),
        'conv1x1.bias': (8,),
        'conv3x3.weight': (8, 8, 3, 3),
        'conv3x3.bias': (8,),
    }


@pytest.mark.parametrize('channels, factor', [(2048, 32), (96, 32), (24, 8), (5, 1)])
def test_groups_divide_the_channels(channels, factor):
    assert EMA(channels).factor == factor


def test_a_factor_that_does_not_divide_the_channels_is_refused():
    with pytest.raises(ValueError, match='EMA: factor=5; it must divide in_channels=8, as 1, 2, 4, 8 do'):
        EMA(8, factor=5)


def test_a_single_value_is_not_refused():
    """It is normalised to zero, so the norm returns its bias, as in the formula."""
    block, x = randomise(EMA(5)).double(), smooth_map(1, 5, 1, 1)
    torch.testing.assert_close(block(x), ema(x, block.state_dict(), factor=1))


def test_keeps_channels_last():
    block = randomise(EMA(8, 2))
    x = smooth_map(2, 8, 5, 3, dtype=torch.float32)
    out = block(x.to(memory_format=torch.channels_last))
    assert out.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(out, block(x))
