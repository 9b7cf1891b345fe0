import pytest

from mmattn.blocks import SE
from tests.reference.se import se
from tests.test_blocks.helpers import check_against, check_agreement, randomise, smooth_map, timm_layer


@pytest.mark.parametrize('bias', [True, False])
@pytest.mark.parametrize('channels, reduction', [(32, 16), (7, 2), (3, 16)])
def test_is_the_formula(channels, reduction, bias):
    block = randomise(SE(channels, reduction, bias))
    check_against(se, block, smooth_map(2, channels, 5, 3))


def test_has_the_papers_parameters():
    # 2 * C^2 / r for each block of SE-ResNet-50: "2.5M" in the paper's section 4.
    shapes = [(256, 3), (512, 4), (1024, 6), (2048, 3)]
    parameters = sum(n * sum(p.numel() for p in SE(c, bias=False).parameters()) for c, n in shapes)
    assert parameters == sum(n * 2 * c * c // 16 for c, n in shapes) == 2_514_944


def test_hidden_width_is_at_least_one():
    assert SE(8).fc1.weight.shape == (1, 8, 1, 1)


def test_agrees_with_timm():
    theirs = randomise(timm_layer('squeeze_excite', 'SEModule')(128))
    check_agreement(SE(128), theirs, smooth_map(2, 128, 5, 7))


def test_agrees_with_mmdet():
    layers = pytest.importorskip('mmdet.models.layers', reason='mmdet is not installed')
    theirs = randomise(layers.SELayer(64))
    check_agreement(
        SE(64),
        theirs,
        smooth_map(2, 64, 5, 7),
        lambda state: {
            k.replace('conv1.conv', 'fc1').replace('conv2.conv', 'fc2'): v for k, v in state.items()
        },
    )


def test_agrees_with_torchvision():
    ops = pytest.importorskip('torchvision.ops', reason='torchvision is not installed')
    check_agreement(SE(64), randomise(ops.SqueezeExcitation(64, 4)), smooth_map(2, 64, 5, 7))
