"""Properties of tensors by which the dispatcher decides."""

from __future__ import annotations

import torch
from torch import Tensor

from mmattn._private_apis import (
    FakeTensor,
    FunctionalTensor,
    dispatch_modes,
    forward_ad_level,
    functorch_level,
)

_CAPTURED = (FakeTensor, FunctionalTensor)


def _never() -> bool:
    return False


# Before PyTorch 2.7 nothing tells exporting from compiling.
is_exporting = getattr(torch.compiler, 'is_exporting', _never)


def is_dense(x: Tensor) -> bool:
    """True if the map is NCHW or channels_last, without gaps."""
    return x.is_contiguous() or x.is_contiguous(memory_format=torch.channels_last)


def map_format(x: Tensor) -> torch.memory_format:
    """NCHW if the map is laid out so, else channels_last."""
    return torch.contiguous_format if x.is_contiguous() else torch.channels_last


def has_no_data(x: Tensor) -> bool:
    """True for fake tensors."""
    return type(x) is FakeTensor  # which takes a third of the time of isinstance


def in_graph(x: Tensor) -> bool:
    """True if operations on ``x`` are captured rather than computed, so that whole operators are called."""
    return torch.compiler.is_compiling() or type(x) in _CAPTURED


def is_watched() -> bool:
    """True under a tracer, a dispatch mode or functorch, which must see plain ATen operations."""
    return (
        torch.jit.is_tracing()
        or dispatch_modes() > 0
        or functorch_level() is not None
        or forward_ad_level() >= 0
    )
