"""Where half precision must not reach."""

from contextlib import nullcontext

import torch
from torch import Tensor


def accurate_dtype(x: Tensor) -> torch.dtype:
    """fp32 for half precision, else the dtype of ``x``: what sums over ``x`` are taken in."""
    return torch.float32 if x.dtype in (torch.float16, torch.bfloat16) else x.dtype


def full_precision(x: Tensor):
    """A context in which autocast leaves the arithmetic of a gate in the dtype of its inputs.

    A gate is computed from one number a channel (or a position): half precision saves nothing there
    and costs accuracy, or NaN once a pooled sum leaves the range of fp16.
    """
    device_type = x.device.type
    if torch.is_autocast_enabled(device_type):
        return torch.autocast(device_type, enabled=False)
    return nullcontext()
