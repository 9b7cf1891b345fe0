from functools import partial

import pytest

from mmattn.blocks import ChannelAttention
from tests.reference.cbam import channel_attention
from tests.test_blocks.helpers import check_against, randomise, smooth_map


@pytest.mark.parametrize('pools', [('avg', 'max'), ('avg',), ('max',)])
def test_is_the_formula(pools):
    block = randomise(ChannelAttention(7, 2, pools))
    check_against(partial(channel_attention, pools=pools), block, smooth_map(2, 7, 5, 3))


def test_has_the_official_names_and_shapes():
    assert {k: tuple(v.shape) for k, v in ChannelAttention(256).state_dict().items()} == {
        'mlp.1.weight': (16, 256),
        'mlp.1.bias': (16,),
        'mlp.3.weight': (256, 16),
        'mlp.3.bias': (256,),
    }


def test_another_pooling_is_refused():
    with pytest.raises(ValueError, match=r"pool_types=\('lse',\); possible: \('avg', 'max'\)"):
        ChannelAttention(64, pool_types=['lse'])
