"""Batch norms that accept a training batch with one value per channel."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class _Guarded:
    """A batch norm that falls back to its running statistics if a training batch has no variance.

    That happens with an empty batch, or with one value per channel, such as one image with a 1x1 map.
    PyTorch would raise an error or write NaN into the statistics. A ``SyncBatchNorm`` converted from this
    class is PyTorch's own: it must always run, because the other processes wait for its values.
    """

    def forward(self, x: Tensor) -> Tensor:
        if self.training and x.numel() < 2 * self.num_features:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(x)


class BatchNorm1d(_Guarded, nn.BatchNorm1d):
    """``(N, C) -> (N, C)``."""


class BatchNorm2d(_Guarded, nn.BatchNorm2d):
    """``(N, C, H, W) -> (N, C, H, W)``."""
