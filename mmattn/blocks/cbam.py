"""Convolutional Block Attention Module."""
from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from mmattn import ops
from mmattn.blocks.base import AttentionBlock, check_choice, check_positive_int
from mmattn.registry import MODELS


class _ChannelGate(nn.Module):
    """``z = mlp(avg(x)) + mlp(max(x))``: ``(N, C, H, W) -> (N, C, 1, 1)``."""

    def __init__(self, channels: int, hidden: int):
        super().__init__()
        self.mlp = nn.Sequential(nn.Flatten(), nn.Linear(channels, hidden), nn.ReLU(),
                                 nn.Linear(hidden, channels))

    def forward(self, x: Tensor) -> Tensor:
        dtype = self.mlp[1].weight.dtype
        z = self.mlp(ops.spatial_avg(x).to(dtype)) + self.mlp(ops.spatial_max(x).to(dtype))
        return z[..., None, None]


class _SpatialConv(nn.Module):
    """``z = bn(conv(stats))``: ``(N, 2, H, W) -> (N, 1, H, W)``."""

    def __init__(self, kernel_size: int):
        super().__init__()
        self.conv = nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2, bias=False)
        self.bn = nn.BatchNorm2d(1, eps=1e-5, momentum=0.01)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        bn = self.bn
        if self.training and x.numel() < 2 and not isinstance(bn, nn.SyncBatchNorm):
            # No batch has a variance here (an empty one, or one picture with a 1x1 map): BatchNorm
            # would raise, or write NaN into its statistics. SyncBatchNorm knows the other
            # processes' values, and they wait for this one.
            return F.batch_norm(x, bn.running_mean, bn.running_var, bn.weight, bn.bias, eps=bn.eps)
        return bn(x)


class _SpatialGate(nn.Module):
    """``z`` from the maximum and the mean over channels: ``(N, C, H, W) -> (N, 1, H, W)``."""

    def __init__(self, kernel_size: int):
        super().__init__()
        self.spatial = _SpatialConv(kernel_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.spatial(ops.channel_stats(x).to(self.spatial.conv.weight.dtype))


@MODELS.register_module()
class CBAM(AttentionBlock):
    """Convolutional Block Attention Module: a gate per channel, then a gate per position.

    ``y = x * sigmoid(mlp(avg(x)) + mlp(max(x)))``, then ``y * sigmoid(bn(conv([max(y), mean(y)])))``
    with maximum and mean over channels, `Woo et al., ECCV 2018 <https://arxiv.org/abs/1807.06521>`_.
    Official code: Jongchan/attention-module, ``MODELS/cbam.py``; parameters are named and shaped as
    there (``ChannelGate.mlp.1.weight``, ``SpatialGate.spatial.conv.weight``, ...), so its state dict
    loads. Initial values too are those of its ``model_resnet.py``: biases and the weight of the
    spatial gate's norm zero, its convolution Kaiming-normal.

    The paper does not mention the norm, and its equations have no biases; the official code and its
    weights have both, and are what this follows.

    Differences: equal maxima share their gradient evenly (the official max pooling gives it to the
    first); a hidden width of at least 1; where a training batch has a single value (one picture with
    a 1x1 map) the norm uses its running statistics instead of raising; ``start='identity'`` is ours.

    Args:
        in_channels: Channels of the map.
        reduction: ``r`` of the channel gate.
        kernel_size: Of the spatial gate's convolution, 7 or 3.
        start: See :class:`~mmattn.blocks.base.AttentionBlock`.

    Shape:
        - Input and output: ``(N, C, H, W)``; gates ``'channel'``: ``(N, C, 1, 1)``, ``'spatial'``:
          ``(N, 1, H, W)``.

    Example:
        >>> import torch
        >>> from mmattn.blocks import CBAM
        >>> x = torch.rand(2, 64, 7, 5)
        >>> CBAM(64, start='identity')(x).equal(x)
        True
        >>> {name: tuple(gate.shape) for name, gate in CBAM(64).gates(x).items()}
        {'channel': (2, 64, 1, 1), 'spatial': (2, 1, 7, 5)}
    """
    _abbr_ = 'cbam'

    def __init__(self, in_channels: int, reduction: int = 16, kernel_size: int = 7,
                 start: str = 'paper', init_cfg=None):
        super().__init__(in_channels, start, init_cfg)
        check_positive_int(self, 'reduction', reduction)
        check_choice(self, 'kernel_size', kernel_size, (3, 7))
        self.ChannelGate = _ChannelGate(in_channels, max(in_channels // reduction, 1))
        self.SpatialGate = _SpatialGate(kernel_size)
        self.reset_start()

    def _channel_gate(self, x: Tensor) -> Tensor:
        with ops.full_precision(x):
            return ops.sigmoid_gate(self.ChannelGate(x), self.ceiling)

    def _spatial_gate(self, x: Tensor) -> Tensor:
        with ops.full_precision(x):
            return ops.sigmoid_gate(self.SpatialGate(x), self.ceiling)

    def gates(self, x: Tensor) -> dict[str, Tensor]:
        channel = self._channel_gate(x)
        return {'channel': channel, 'spatial': self._spatial_gate(ops.apply_gate(x, channel))}

    def forward(self, x: Tensor) -> Tensor:
        # Not by way of gates(): the second gate is computed from the product that is returned.
        x = ops.apply_gate(x, self._channel_gate(x))
        return ops.apply_gate(x, self._spatial_gate(x))

    def reset_parameters(self) -> None:
        for layer in (self.ChannelGate.mlp[1], self.ChannelGate.mlp[3]):
            layer.reset_parameters()
            nn.init.zeros_(layer.bias)
        nn.init.kaiming_normal_(self.SpatialGate.spatial.conv.weight, mode='fan_out')
        self.SpatialGate.spatial.bn.reset_parameters()
        nn.init.zeros_(self.SpatialGate.spatial.bn.weight)

    def last_layers(self):
        return [self.ChannelGate.mlp[3], self.SpatialGate.spatial.bn]
