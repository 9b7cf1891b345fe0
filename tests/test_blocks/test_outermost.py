"""The outermost modules that one asks for, whatever lies inside of them."""

from torch import nn

from mmattn.blocks import CBAM, SE, Compose
from mmattn.blocks.outermost import outermost, outermost_blocks


def test_blocks_inside_of_blocks_are_left_out():
    shared = SE(16)
    model = nn.ModuleDict(
        dict(cbam=CBAM(16), chain=Compose(16, [dict(type='SE'), dict(type='ECA')]), a=shared, b=shared)
    )
    found = dict(outermost_blocks(model))
    assert found == dict(cbam=model.cbam, chain=model.chain, a=shared)  # a shared module is one
    assert {path for path, _ in outermost_blocks(model.cbam)} == {'ChannelGate', 'SpatialGate'}


def test_a_module_that_is_wanted_itself_hides_all_below():
    block = CBAM(16)
    assert list(outermost(block, lambda path, module: True)) == [('', block)]
    assert list(outermost(block, lambda path, module: False)) == []


def test_a_name_that_begins_like_another_is_not_inside_of_it():
    model = nn.ModuleDict(dict(se=SE(16), se_2=SE(16)))
    assert [path for path, _ in outermost_blocks(model)] == ['se', 'se_2']
