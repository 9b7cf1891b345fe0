from functools import partial

import pytest
import torch

from mmattn.blocks import SimAM
from tests.reference.simam import simam
from tests.test_blocks.helpers import check_against, smooth_map


@pytest.mark.parametrize('e_lambda', [1e-4, 0.1])
def test_is_the_formula(e_lambda):
    """The reference computes the paper's energy; the official code computes its inverse."""
    check_against(partial(simam, e_lambda=e_lambda), SimAM(7, e_lambda), smooth_map(2, 7, 5, 3))


def test_a_weight_of_one_is_twice_the_published_gate():
    block = SimAM(7, start='identity')
    assert block.weight.shape == (1,) and not block.weight.any()
    x = smooth_map(2, 7, 5, 3, dtype=torch.float32)
    torch.nn.init.ones_(block.weight)
    torch.testing.assert_close(block(x), 2 * SimAM(7)(x))


def test_a_single_element_has_distance_zero():
    x = torch.randn(2, 7, 1, 1)
    torch.testing.assert_close(SimAM(7)(x), x * torch.sigmoid(torch.tensor(0.5)))


def test_lambda_must_be_positive():
    with pytest.raises(ValueError, match='e_lambda=0; it must be a positive number'):
        SimAM(7, e_lambda=0)
