"""Reduce gates to positions and channels."""

import numpy as np
import torch

from mmattn.blocks import CoordAttention
from mmattn.visualization import channel_views, spatial_view
from tests.test_blocks.helpers import randomise


def test_views_of_gates_that_depend_on_both():
    block = CoordAttention(12)
    randomise(block)
    x = torch.randn(2, 12, 5, 7)
    gates = {name: gate.detach() for name, gate in block.gates(x).items()}
    product = (gates['height'] * gates['width']).numpy()
    np.testing.assert_allclose(spatial_view(gates, 12).numpy(), product.mean(1), rtol=1e-5)
    np.testing.assert_allclose(channel_views(gates, 12)['channel'].numpy(), product.mean((2, 3)), rtol=1e-5)
    groups = dict(group=torch.rand(2, 3, 5, 7))
    full = groups['group'].repeat_interleave(4, 1).numpy()
    np.testing.assert_allclose(channel_views(groups, 12)['channel'].numpy(), full.mean((2, 3)), rtol=1e-5)
    assert spatial_view(dict(channel=torch.rand(2, 12, 1, 1)), 12) is None
    assert channel_views(dict(spatial=torch.rand(2, 1, 5, 7)), 12) == {}
    branches = channel_views(dict(branch=torch.rand(2, 3, 12, 1, 1)), 12)
    assert list(branches) == ['branch 1', 'branch 2', 'branch 3']
