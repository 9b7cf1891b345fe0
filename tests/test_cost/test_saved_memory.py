"""Memory kept for the backward pass against a real forward pass."""

import pytest
import torch

from mmattn.cost import (
    model_cost,
)
from tests.test_cost.helpers import RESIDUAL
from tests.test_insertion.models import build, model_cfg, narrow


@pytest.mark.parametrize('frozen', [-1, 1])
@pytest.mark.parametrize('block', [None, 'mmattn.SE', 'mmattn.CBAM'])
def test_what_is_kept_is_what_a_real_forward_pass_keeps(block, frozen):
    insert = [dict(RESIDUAL, block=dict(type=block))] if block else None
    model = build(narrow(model_cfg('RetinaNet', depth=50, insert=insert, frozen_stages=frozen)))
    counted = model_cost(model, (64, 96)).saved_bytes()
    model.train()
    own = {p.untyped_storage().data_ptr() for p in [*model.parameters(), *model.buffers()]}
    kept = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = (storage.nbytes(), storage)
        return tensor.detach()  # not what its own step keeps: that would never be freed

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        out = model.bbox_head(model.extract_feat(torch.rand(1, 3, 64, 96)))
    assert counted == sum(number for number, _ in kept.values()) and out
