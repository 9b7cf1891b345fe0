from functools import partial

import pytest
import torch

from mmattn.blocks import GCT
from tests.reference.gct import gct
from tests.test_blocks.helpers import check_against, randomise, smooth_map


@pytest.mark.parametrize('mode', ['l2', 'l1'])
def test_is_the_formula(mode):
    check_against(partial(gct, mode=mode), randomise(GCT(7, mode=mode)), smooth_map(2, 7, 5, 3))


def test_without_negative_values_the_l1_norm_is_the_sum():
    blocks = [randomise(GCT(7, mode='l1', after_relu=after_relu)) for after_relu in (False, True)]
    x = smooth_map(2, 7, 5, 3, dtype=torch.float32)
    assert blocks[0](x.relu()).equal(blocks[1](x.relu()))
    assert not blocks[0](x).allclose(blocks[1](x))


def test_has_the_official_names_shapes_and_values():
    state = GCT(64).state_dict()
    shapes = {k: tuple(v.shape) for k, v in state.items()}
    assert shapes == dict.fromkeys(('alpha', 'gamma', 'beta'), (1, 64, 1, 1))
    assert (state['alpha'] == 1).all() and not state['gamma'].any() and not state['beta'].any()


def test_the_published_start_is_the_identity_and_gives_no_warning(warnings):
    block = GCT(8).requires_grad_(False).train()
    x = smooth_map(2, 8, 5, 3, dtype=torch.float32)
    assert block(x).equal(x) and not warnings


def test_another_mode_is_refused():
    with pytest.raises(ValueError, match="mode='linf'; possible: 'l2', 'l1'"):
        GCT(8, mode='linf')
