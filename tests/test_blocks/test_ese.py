import pytest
import torch

from mmattn.blocks import ESE
from tests.reference.ese import ese
from tests.test_blocks.helpers import check_against, check_agreement, randomise, smooth_map, timm_layer


@pytest.mark.parametrize('scale', [1, 30])
def test_is_the_formula(scale):
    """With scale=30 some gates saturate, where their gradient is zero."""
    block, x = randomise(ESE(7)), scale * smooth_map(2, 7, 5, 3)
    gates = block(x.float()) / x.float()
    assert (gates > 0.999).any() == (gates < 0.001).any() == (scale == 30)
    check_against(ese, block, x)


def test_has_the_official_names_and_shapes():
    assert {k: tuple(v.shape) for k, v in ESE(64).state_dict().items()} == {
        'fc.weight': (64, 64, 1, 1),
        'fc.bias': (64,),
    }


def test_starts_as_the_official_model_does():
    torch.manual_seed(0)
    assert abs(ESE(256).fc.weight.std() - (2 / 256) ** 0.5) < 0.001


def test_identity_is_at_the_middle_of_the_slope():
    block = ESE(8, start='identity').double()
    x = smooth_map(2, 8, 5, 3)
    assert (block.gates(x)['channel'] == 1).all()
    block.gates(x)['channel'].sum().backward()
    torch.testing.assert_close(block.fc.bias.grad, torch.full((8,), 2 / 3, dtype=torch.float64))


def test_agrees_with_timm():
    theirs = randomise(timm_layer('squeeze_excite', 'EffectiveSEModule')(64))
    check_agreement(ESE(64), theirs, smooth_map(2, 64, 5, 7))


def test_agrees_with_mmdet():
    layers = pytest.importorskip('mmdet.models.layers', reason='mmdet is not installed')
    theirs = randomise(layers.ChannelAttention(64))
    check_agreement(ESE(64), theirs, smooth_map(2, 64, 5, 7))
