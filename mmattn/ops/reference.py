"""The definitions: what each function of a map means, in plain PyTorch.

Maps are ``(N, C, H, W)``; channel gates ``(N, C, 1, 1)``; spatial gates ``(N, 1, H, W)``; gates of ``G``
groups of successive channels ``(N, G, H, W)``. Half precision is accumulated in fp32: a fp16 sum over a
map overflows, and a bf16 one loses the mean.
"""

import torch
from torch import Tensor
from torch.jit import is_tracing

from mmattn.ops.precision import accurate_dtype
from mmattn.ops.sizes import static_size, unflatten


def spatial_avg(x: Tensor) -> Tensor:
    """Mean over the positions of each channel: ``(N, C, H, W) -> (N, C, 1, 1)``, at least fp32."""
    return x.mean((2, 3), keepdim=True, dtype=accurate_dtype(x))


def axis_avgs(x: Tensor) -> tuple[Tensor, Tensor]:
    """Means of each channel's rows, ``(N, C, H, 1)``, and columns, ``(N, C, 1, W)``, at least fp32."""
    dtype = accurate_dtype(x)
    return x.mean(3, keepdim=True, dtype=dtype), x.mean(2, keepdim=True, dtype=dtype)


def spatial_max(x: Tensor) -> Tensor:
    """Maximum over the positions of each channel: ``(N, C, H, W) -> (N, C, 1, 1)``, at least fp32.

    Equal maxima share the gradient evenly, in any order of execution (``adaptive_max_pool2d`` gives
    it to the first one, and its CUDA backward is not deterministic).
    """
    return x.amax((2, 3), keepdim=True).to(accurate_dtype(x))


def channel_stats(x: Tensor) -> Tensor:
    """Maximum and mean over the channels: ``(N, C, H, W) -> (N, 2, H, W)``, at least fp32."""
    dtype = accurate_dtype(x)
    return torch.cat([x.amax(1, keepdim=True).to(dtype), x.mean(1, keepdim=True, dtype=dtype)], 1)


def sigmoid_gate(z: Tensor, ceiling: float = 1.0) -> Tensor:
    """``ceiling * sigmoid(z)``. With ``ceiling=2`` the gate is exactly 1 at ``z = 0``."""
    return torch.sigmoid(z) if ceiling == 1.0 else ceiling * torch.sigmoid(z)


def apply_gate(x: Tensor, gate: Tensor) -> Tensor:
    """``x * gate`` in the shape, dtype and memory format of ``x``."""
    gate = gate.to(x.dtype)
    channels, groups = x.shape[1], gate.shape[1]
    if is_tracing():
        channels, groups = static_size(x, 1), static_size(gate, 1)
    if groups in (1, channels):
        return x * gate
    return (unflatten(x, 1, (groups, channels // groups)) * gate.unsqueeze(2)).flatten(1, 2)
