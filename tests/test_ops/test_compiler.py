"""Under torch.compile with its own compiler, maxima keep their gradient in half precision.

By PyTorch alone it is NaN: Inductor compares the map with its maximum again, one of both rounded.
"""

import pytest
import torch

from mmattn import ops
from mmattn.blocks import CBAM, ChannelAttention, SpatialAttention, TripletAttention
from tests.test_blocks.helpers import randomise, smooth_map


@pytest.mark.parametrize(
    'block',
    [
        SpatialAttention,
        *(pytest.param(each, marks=pytest.mark.slow) for each in (CBAM, ChannelAttention, TripletAttention)),
    ],
)
@pytest.mark.parametrize('dtype', [torch.bfloat16, pytest.param(torch.float32, marks=pytest.mark.slow)])
def test_compiled_gradients_of_maxima_are_right(block, dtype):
    torch._dynamo.reset()
    module = randomise(block(16))
    x = smooth_map(2, 16, 12, 11, dtype=dtype).requires_grad_()
    weight = smooth_map(2, 16, 12, 11, dtype=dtype, seed=2)

    def run(x):
        return module(x * 1.3)  # what comes before is compiled into the same kernel

    compiled = torch.compile(run, fullgraph=True)
    found = []
    for function in (run, compiled):
        with (
            ops.backend('auto'),
            torch.autocast('cpu', torch.bfloat16, enabled=dtype == torch.bfloat16),
        ):
            found.append(torch.autograd.grad(function(x), (x, *module.parameters()), weight))
    for one, other in zip(*found):
        assert torch.isfinite(other).all()
        # In bf16 a compiler leaves roundings out. Without the gradient of maxima the error is 0.5 or more.
        assert (one - other).float().norm() <= 0.1 * one.float().norm()
