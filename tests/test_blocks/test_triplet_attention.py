from functools import partial

import pytest

from mmattn.blocks import TripletAttention
from tests.reference.triplet_attention import triplet_attention
from tests.test_blocks.helpers import check_against, randomise, smooth_map


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('no_spatial', [True, False])
def test_is_the_formula(no_spatial, training):
    block = randomise(TripletAttention(4, no_spatial)).train(training)
    check_against(partial(triplet_attention, training=training), block, smooth_map(2, 4, 5, 3))


@pytest.mark.parametrize('no_spatial, gates', [(False, ('cw', 'hc', 'hw')), (True, ('cw', 'hc'))])
def test_has_the_official_names_and_shapes(no_spatial, gates):
    shapes = {k: tuple(v.shape) for k, v in TripletAttention(64, no_spatial).state_dict().items()}
    one = {
        'conv.weight': (1, 2, 7, 7),
        'bn.weight': (1,),
        'bn.bias': (1,),
        'bn.running_mean': (1,),
        'bn.running_var': (1,),
        'bn.num_batches_tracked': (),
    }
    assert shapes == {f'{gate}.conv.{name}': shape for gate in gates for name, shape in one.items()}
