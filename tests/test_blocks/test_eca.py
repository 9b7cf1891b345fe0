import pytest

from mmattn.blocks import ECA
from tests.reference.eca import eca
from tests.test_blocks.helpers import check_against, check_agreement, randomise, smooth_map, timm_layer


@pytest.mark.parametrize('channels, kernel_size', [(16, None), (5, 3), (4, 7), (6, 1)])
def test_is_the_formula(channels, kernel_size):
    block = randomise(ECA(channels, kernel_size))
    check_against(eca, block, smooth_map(2, channels, 5, 3))


@pytest.mark.parametrize(
    'channels, kernel_size', [(64, 3), (128, 5), (256, 5), (512, 5), (1024, 5), (2048, 7)]
)
def test_the_kernel_size_follows_the_channels(channels, kernel_size):
    assert ECA(channels).conv.weight.shape == (1, 1, kernel_size)


def test_agrees_with_timm():
    theirs = randomise(timm_layer('eca', 'EcaModule')(256))
    check_agreement(ECA(256), theirs, smooth_map(2, 256, 5, 7))


def test_an_even_kernel_is_refused():
    with pytest.raises(ValueError, match='kernel_size=4; it must be an odd positive integer'):
        ECA(64, kernel_size=4)
