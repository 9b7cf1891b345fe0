import pytest
import torch
from mmdet.models import ResNet

from mmattn import attach
from mmattn.blocks import Capacity
from mmattn.study.controls import NoControl, control_insertion
from tests.test_blocks.cases import all_blocks

BLOCKS = {name: each for name, each in all_blocks().items() if each.role != 'convolution'}
SITES = 'layer[2-4].*.residual'


def size(block):
    return sum(p.numel() for p in block.parameters())


@pytest.mark.parametrize('name', [name for name in BLOCKS if name != 'TemporalAttention'])
def test_capacity_is_as_near_as_a_bottleneck_can_be(name):
    block = dict(type=f'mmattn.{name}', **BLOCKS[name].case.options)
    model = attach(ResNet(18, base_channels=32), [dict(at=SITES, block=block)])
    try:
        rules = control_insertion('capacity', model)
    except NoControl as error:
        assert str(error).startswith(f'its {name} at layer')
        assert any(size(b) < Capacity.size(b.in_channels, 1) for _, _, b in model.attention.blocks())
        return
    control = attach(ResNet(18, base_channels=32), rules)
    assert list(control.attention) == list(model.attention)
    for key, one in model.attention.items():
        other = control.attention[key]
        step = Capacity.size(one.in_channels, 2) - Capacity.size(one.in_channels, 1)
        assert isinstance(other, Capacity) and abs(size(one) - size(other)) <= step / 2


def test_several_blocks_on_a_site_have_a_control_each():
    rules = [
        dict(at=SITES, block=dict(type='mmattn.SE'), order=1),
        dict(at='layer4.*.residual', block=dict(type='mmattn.SE', reduction=4)),
    ]
    model = attach(ResNet(18), rules)
    control = attach(ResNet(18), control_insertion('capacity', model))
    assert size(control.attention) == size(model.attention)
    gates = attach(ResNet(18), control_insertion('static_gate', model))
    assert list(gates.attention) == list(model.attention) and size(gates.attention) == 2 * (128 + 256 + 512)


def test_without_attention_there_is_nothing_to_control():
    for model in (ResNet(18), torch.nn.Identity()):
        with pytest.raises(NoControl, match='it has no inserted attention'):
            control_insertion('static_gate', model)
