"""Attention takes nothing from the global random state."""

import torch
from mmdet.models import ResNet

from mmattn import attach


def test_global_random_state_is_untouched_and_seeds_attention():
    torch.manual_seed(3)
    backbone, expected = ResNet(18), torch.rand(4)
    torch.manual_seed(3)
    backbone = ResNet(18)
    attach(backbone, dict(at='**.residual', block=dict(type='mmattn.SE')))
    assert torch.rand(4).equal(expected)

    def weights(seed):
        torch.manual_seed(seed)
        model = attach(ResNet(18), dict(at='**.residual', block=dict(type='mmattn.SE')))
        return model.attention['layer4_0_residual'].fc1.weight, model.attention[
            'layer4_1_residual'
        ].fc1.weight

    first, second = weights(3)
    assert not first.equal(second), 'two sites of one shape must differ'
    assert first.equal(weights(3)[0]) and not first.equal(weights(4)[0])
