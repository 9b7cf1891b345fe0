"""What a block costs on one map, counted without computing anything."""

from __future__ import annotations

import inspect
from dataclasses import dataclass

import torch
from torch import nn
from torch._subclasses import FakeTensorMode

from mmattn.cost.op_count import CountOps


@dataclass(frozen=True)
class BlockCost:
    """Cost of a block on one picture's map.

    Attributes:
        parameters: Number of parameters.
        ops: Operations of all :data:`~mmattn.cost.op_count.KINDS`: multiply-adds of convolutions and
            linear layers, and what poolings, norms, activations and gating add to them.
    """

    parameters: int
    ops: int


def one_frame(block: type[nn.Module]) -> dict:
    """The options with which a ``block`` for clips takes one picture."""
    return dict(num_frames=1) if 'num_frames' in inspect.signature(block).parameters else {}


def block_cost(block: type[nn.Module], channels: int, size: tuple[int, int], **options) -> BlockCost:
    """The cost of ``block(channels, **options)`` on a map ``(1, channels, *size)`` in evaluation.

    Raises:
        ValueError: The block runs an operation that nobody knows how to count.

    Example:
        >>> from mmattn.blocks import SE
        >>> block_cost(SE, 256, (100, 100))
        BlockCost(parameters=8464, ops=5128736)
    """
    with FakeTensorMode(), torch.no_grad():
        module = block(channels, **options).eval()
        x = torch.empty(1, channels, *size)
        with CountOps(module) as counting:
            module(x)
    if counting.count.not_counted:
        raise ValueError(
            f'{block.__name__} runs {", ".join(map(str, counting.count.not_counted))}, which '
            'mmattn.cost.op_count does not know how to count'
        )
    return BlockCost(sum(p.numel() for p in module.parameters()), counting.count.total())
