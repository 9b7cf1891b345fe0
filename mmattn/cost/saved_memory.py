"""Count the bytes that autograd keeps for the backward pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from mmattn.cost.op_count import CountOps


@contextmanager
def saved_for_backward(model: nn.Module) -> Iterator[Counter]:
    """Count the bytes that autograd keeps inside the context, without parameters and buffers.

    Yields:
        Bytes by the path of the module in which a storage was first kept.
    """
    saved: Counter = Counter()
    stored = [*model.parameters(), *model.buffers()]
    stored += [each.detach() for each in stored]  # inside a FakeTensorMode, their fake counterparts
    own = {id(each.untyped_storage()): each for each in stored}  # a storage is one object while it is alive
    seen: dict[int, torch.UntypedStorage] = {}
    counting = CountOps(model)

    def pack(tensor):
        if isinstance(tensor, nn.Parameter):
            return tensor
        storage = tensor.untyped_storage()
        if id(storage) not in own and id(storage) not in seen:
            seen[id(storage)] = storage
            saved[counting.where] += storage.nbytes()
        return tensor.detach()  # an output that its own step keeps would never be freed, nor would the model

    with counting, torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield saved
