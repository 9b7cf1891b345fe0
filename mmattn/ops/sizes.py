"""Sizes of maps, in arithmetic that each exporter takes.

In a graph a size is no number: a symbol for torch.export, a tensor for torch.jit.trace. Whatever makes a
Python number of it (``int()``, ``max()``, ``if``) stops the one, or becomes a constant of the other's graph.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.jit import is_tracing


def static_size(x: Tensor, dim: int) -> int:
    """A size that may be a constant of a graph, as the number of channels is, or is only checked."""
    if not is_tracing():
        return x.shape[dim]
    with warnings.catch_warnings():  # of a constant, which it is meant to be
        warnings.simplefilter('ignore', torch.jit.TracerWarning)
        return int(x.shape[dim])


def unflatten(x: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    """``x.unflatten(dim, sizes)``, which ONNX by way of TorchScript has only from opset 13.

    Args:
        x: Any tensor.
        dim: Not counted from the end.
        sizes: Without a -1, which would be unknown in an empty batch.
    """
    return x.view(*x.shape[:dim], *sizes, *x.shape[dim + 1 :]) if is_tracing() else x.unflatten(dim, sizes)


def degrees_of_freedom(x: Tensor) -> int:
    """``H * W - 1``, but 1 for a single position, whose variance then is 0/1 and not 0/0."""
    rest = x.shape[2] * x.shape[3] - 1
    if is_tracing():  # a tensor; the exporter clamps no integers before opset 12
        return rest.float().clamp(min=1)
    return torch.sym_max(rest, 1)
