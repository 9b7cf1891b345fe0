"""Batch normalisation of gates, of which a batch may have a single value."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class _Guarded:
    """Uses the running statistics where a training batch has no variance.

    That is an empty batch, or a single value a channel, such as one picture with a 1x1 map: PyTorch
    would raise, or write NaN into the statistics. A ``SyncBatchNorm`` made of this knows the other
    processes' values, which wait for its own, and is PyTorch's.
    """

    def forward(self, x: Tensor) -> Tensor:
        if self.training and x.numel() < 2 * self.num_features:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(x)


class BatchNorm1d(_Guarded, nn.BatchNorm1d):
    """``(N, C) -> (N, C)``."""


class BatchNorm2d(_Guarded, nn.BatchNorm2d):
    """``(N, C, H, W) -> (N, C, H, W)``."""
