"""Count what a block costs on one map, without computing anything."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from mmattn._private_apis import FakeTensorMode
from mmattn.blocks.clips import clips_set
from mmattn.cost.op_count import CountOps


@dataclass(frozen=True)
class BlockCost:
    """Cost of a block on the map of one image.

    Attributes:
        parameters: Number of parameters.
        ops: Operations of all :data:`~mmattn.cost.op_count.OP_CATEGORIES`: multiply-adds of convolutions and
            linear layers, plus the operations of poolings, norms, activations and gating.
    """

    parameters: int
    ops: int


def block_cost(block: type[nn.Module], channels: int, size: tuple[int, int], **options) -> BlockCost:
    """Count the cost of ``block(channels, **options)`` in eval mode.

    Args:
        block: Class of the block.
        channels: Channels of the map.
        size: Height and width of the map.
        **options: Further arguments of the block.

    Raises:
        ValueError: If the block runs an operation without a cost formula.

    Example:
        >>> from mmattn.blocks import SE
        >>> from mmattn.cost import block_cost
        >>> block_cost(SE, 256, (100, 100))
        BlockCost(parameters=8464, ops=5128736)
    """
    with FakeTensorMode(), torch.no_grad():
        module = block(channels, **options).eval()
        x = torch.empty(1, channels, *size)
        with CountOps(module) as counting, clips_set(module, (1, 1)):
            module(x)
    if counting.count.not_counted:
        raise ValueError(
            f'{block.__name__} runs {", ".join(map(str, counting.count.not_counted))}, for which '
            'mmattn.cost.op_count has no cost formula'
        )
    return BlockCost(sum(p.numel() for p in module.parameters()), counting.count.total())
