import pytest
import torch

from mmattn.blocks import SGE
from tests.reference.sge import sge
from tests.test_blocks.helpers import check_against, randomise, smooth_map


@pytest.mark.parametrize('channels, groups', [(12, 3), (6, 1), (4, 4)])
def test_is_the_formula(channels, groups):
    check_against(sge, randomise(SGE(channels, groups)), smooth_map(2, channels, 5, 3))


def test_has_the_official_names_shapes_and_values():
    state = SGE(256).state_dict()
    assert {k: tuple(v.shape) for k, v in state.items()} == {'weight': (1, 64, 1, 1), 'bias': (1, 64, 1, 1)}
    assert not state['weight'].any() and (state['bias'] == 1).all()


@pytest.mark.parametrize('channels, groups', [(256, 64), (64, 64), (96, 32), (5, 1)])
def test_groups_divide_the_channels(channels, groups):
    assert SGE(channels).groups == groups


def test_groups_that_do_not_divide_the_channels_are_refused():
    text = 'SGE: groups=5; it must divide in_channels=64, as 1, 2, 4, 8, 16, 32, 64 do'
    with pytest.raises(ValueError, match=text):
        SGE(64, groups=5)


def test_a_single_position_has_the_gate_of_the_bias():
    block = randomise(SGE(8, 4))
    gate = block.gates(torch.randn(2, 8, 1, 1))['group']
    torch.testing.assert_close(gate, torch.sigmoid(block.bias).expand(2, -1, -1, -1))
