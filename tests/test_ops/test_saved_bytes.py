"""What is kept for the backward pass: the map that came in, and small vectors."""

import pytest
import torch

from mmattn import ops
from mmattn.blocks import CBAM, ECA, ESE, SE, ChannelAttention, SpatialAttention
from tests.test_blocks.helpers import smooth_map


def kept(block, x):
    """Bytes of tensors that are kept, each storage once, parameters and statistics left out; and of ``x``."""
    own = {t.untyped_storage().data_ptr() for t in (*block.parameters(), *block.buffers())}
    storages = {}

    def pack(t):
        storage = t.untyped_storage()
        if storage.data_ptr() not in own:
            storages[storage.data_ptr()] = storage.nbytes()
        return t.detach()  # not what its own step keeps: that would never be freed

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        out = block(x)
    map_bytes = storages.pop(x.untyped_storage().data_ptr(), 0)
    assert out.untyped_storage().data_ptr() not in storages
    return sum(storages.values()), map_bytes


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
@pytest.mark.parametrize('backend', ['aten', 'cpu', 'triton'])
@pytest.mark.parametrize('block', [SE, ECA, ESE, ChannelAttention, SpatialAttention, CBAM])
def test_at_most_the_map_and_small_vectors(block, backend, dtype):
    from mmattn.ops.dispatch import missing_reason

    if missing_reason(backend):
        pytest.skip(missing_reason(backend))
    n, c, h, w = 2, 64, 24, 20
    x = smooth_map(n, c, h, w, dtype=dtype).requires_grad_()
    with ops.backend(backend):
        small, map_bytes = kept(block(c), x)
    assert map_bytes <= x.numel() * x.element_size()
    assert 0 < small <= 4 * 16 * n * (c + h * w)  # sixteen numbers of fp32 for each channel and position
    assert small < x.numel() * x.element_size() / 2


def test_plain_pytorch_keeps_products():
    """That the measure above sees them."""
    x = smooth_map(2, 64, 24, 20, dtype=torch.float32).requires_grad_()
    with ops.backend('plain'):
        small, _ = kept(CBAM(64), x)
    assert small > x.numel() * 4
