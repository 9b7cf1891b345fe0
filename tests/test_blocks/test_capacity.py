import pytest
import torch

from mmattn.blocks import SE, Capacity
from tests.reference.capacity import capacity
from tests.test_blocks.helpers import check_against, randomise, smooth_map


@pytest.mark.parametrize('hidden', [1, 3])
def test_is_the_formula(hidden):
    check_against(capacity, randomise(Capacity(7, hidden)), smooth_map(2, 7, 5, 3))


@pytest.mark.parametrize('channels, hidden', [(16, 1), (64, 4), (320, 20)])
def test_has_as_many_parameters_as_it_says(channels, hidden):
    count = sum(p.numel() for p in Capacity(channels, hidden).parameters())
    assert count == Capacity.size(channels, hidden)
    # by default the width of SE, and so exactly its number of parameters
    assert count == sum(p.numel() for p in SE(channels).parameters())
    assert Capacity(channels).fc1.out_channels == hidden


def test_starts_as_the_identity_and_gives_no_warning(warnings):
    block = Capacity(8).requires_grad_(False).train()
    x = smooth_map(2, 8, 5, 3, dtype=torch.float32)
    assert block(x).equal(x) and not warnings


def test_a_width_that_is_none_is_refused():
    with pytest.raises(ValueError, match='Capacity: hidden=0; it must be a positive integer'):
        Capacity(8, 0)
