from functools import partial

import pytest

from mmattn.blocks import SpatialAttention
from tests.reference.cbam import spatial_attention
from tests.test_blocks.helpers import check_against, randomise, smooth_map


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('descriptor', ['pool', 'conv'])
@pytest.mark.parametrize('kernel_size', [3, 7])
def test_is_the_formula(kernel_size, descriptor, training):
    block = randomise(SpatialAttention(6, kernel_size, descriptor)).train(training)
    check_against(partial(spatial_attention, training=training), block, smooth_map(2, 6, 5, 3))


def test_has_the_official_names_and_shapes():
    shapes = {k: tuple(v.shape) for k, v in SpatialAttention(64).state_dict().items()}
    assert shapes == {
        'spatial.conv.weight': (1, 2, 7, 7),
        'spatial.bn.weight': (1,),
        'spatial.bn.bias': (1,),
        'spatial.bn.running_mean': (1,),
        'spatial.bn.running_var': (1,),
        'spatial.bn.num_batches_tracked': (),
    }


@pytest.mark.parametrize(
    'options, text',
    [
        (dict(kernel_size=5), 'kernel_size=5; possible: 3, 7'),
        (dict(descriptor='max'), "descriptor='max'; possible: 'pool', 'conv'"),
    ],
)
def test_other_options_are_refused(options, text):
    with pytest.raises(ValueError, match=text):
        SpatialAttention(64, **options)
