from functools import partial

import pytest

from mmattn.blocks import SCSE
from tests.reference.scse import scse
from tests.test_blocks.helpers import check_against, randomise, smooth_map


@pytest.mark.parametrize('combine', ['max', 'add'])
@pytest.mark.parametrize('channels, reduction', [(8, 2), (48, 16)])
def test_is_the_formula(channels, reduction, combine):
    block = randomise(SCSE(channels, reduction, combine))
    check_against(partial(scse, combine=combine), block, smooth_map(2, channels, 5, 3))


def test_has_the_official_names_and_shapes():
    assert {k: tuple(v.shape) for k, v in SCSE(64).state_dict().items()} == {
        'cSE.fc1.weight': (32, 64),
        'cSE.fc1.bias': (32,),
        'cSE.fc2.weight': (64, 32),
        'cSE.fc2.bias': (64,),
        'sSE.conv.weight': (1, 64, 1, 1),
        'sSE.conv.bias': (1,),
    }


@pytest.mark.parametrize('combine', ['max', 'add'])
def test_both_halves_learn_from_an_identity_start(combine):
    block = SCSE(8, combine=combine, start='identity')
    x = smooth_map(2, 8, 5, 3).float()
    assert block(x).equal(x)
    (block(x) * smooth_map(2, 8, 5, 3, seed=4).float()).sum().backward()
    assert block.cSE.fc2.weight.grad.any() and block.sSE.conv.weight.grad.any()


def test_another_combination_is_refused():
    with pytest.raises(ValueError, match="combine='mean'; possible: 'max', 'add'"):
        SCSE(8, combine='mean')
