"""What a block costs on one map, counted without computing anything."""
from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

aten = torch.ops.aten
_REDUCTIONS = (aten.mean, aten.sum, aten.amax, aten.amin, aten.max)


@dataclass(frozen=True)
class BlockCost:
    """Cost of a block on one picture's map.

    Attributes:
        parameters: Number of parameters.
        macs: Multiply-adds of convolutions and linear layers, and one for each element that a pooling
            reads or an elementwise operation writes.
    """
    parameters: int
    macs: int


class _Count(TorchDispatchMode):
    """Counts what :class:`BlockCost` says; everything else (views, copies) is nothing."""

    def __init__(self):
        super().__init__()
        self.macs = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        packet = func.overloadpacket
        if packet in flop_registry:
            self.macs += flop_registry[packet](*args, **(kwargs or {}), out_val=out) // 2
        elif packet in _REDUCTIONS:
            self.macs += args[0].numel()
        elif torch.Tag.pointwise in func.tags:
            self.macs += max(each.numel() for each in tree_leaves(out) if isinstance(each, Tensor))
        return out


def block_cost(block: type[nn.Module], channels: int, size: tuple[int, int], **options) -> BlockCost:
    """The cost of ``block(channels, **options)`` on a map ``(1, channels, *size)`` in evaluation.

    Example:
        >>> from mmattn.blocks import SE
        >>> block_cost(SE, 256, (100, 100))
        BlockCost(parameters=8464, macs=5128464)
    """
    with FakeTensorMode(), torch.no_grad():
        module = block(channels, **options).eval()
        x = torch.empty(1, channels, *size)
        with _Count() as count:
            module(x)
    return BlockCost(sum(p.numel() for p in module.parameters()), count.macs)
