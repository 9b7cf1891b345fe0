from functools import partial

import pytest

from mmattn.blocks import CoordAttention
from tests.reference.coord_attention import coord_attention
from tests.test_blocks.helpers import check_against, check_agreement, randomise, smooth_map, timm_layer


@pytest.mark.parametrize('training', [True, False])
def test_is_the_formula(training):
    block = randomise(CoordAttention(6)).train(training)
    if training:  # the gradient of a bias before a norm is zero up to rounding
        block.conv1.bias.requires_grad_(False)
    check_against(partial(coord_attention, training=training), block, smooth_map(2, 6, 5, 3))


@pytest.mark.parametrize('channels, hidden', [(64, 8), (512, 16)])
def test_has_the_official_names_and_shapes(channels, hidden):
    shapes = {k: tuple(v.shape) for k, v in CoordAttention(channels).state_dict().items()}
    norm = {f'bn1.{name}': (hidden,) for name in ('weight', 'bias', 'running_mean', 'running_var')}
    assert shapes == {
        'conv1.weight': (hidden, channels, 1, 1),
        'conv1.bias': (hidden,),
        **norm,
        'bn1.num_batches_tracked': (),
        'conv_h.weight': (channels, hidden, 1, 1),
        'conv_h.bias': (channels,),
        'conv_w.weight': (channels, hidden, 1, 1),
        'conv_w.bias': (channels,),
    }


def test_agrees_with_timm():
    theirs = randomise(timm_layer('coord_attn', 'CoordAttn')(64, bias=True)).eval()
    check_agreement(CoordAttention(64).eval(), theirs, smooth_map(2, 64, 5, 7))
