"""Spatial Group-wise Enhance."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmattn import ops
from mmattn.blocks.base import AttentionBlock, channel_groups
from mmattn.registry import MODELS


@MODELS.register_module()
class SGE(AttentionBlock):
    """Spatial Group-wise Enhance: in each group of channels, a gate per position by likeness to the mean.

    For each group of channels ``x * sigmoid(weight * t + bias)``, where ``t`` is the dot product of the
    channels at a position with their means, standardised over positions, `Li et al., 2019
    <https://arxiv.org/abs/1905.09646>`_. Official code: implus/PytorchInsight,
    ``classification/models/imagenet/resnet_sge.py``; parameters are named and shaped as there,
    ``weight`` and ``bias``, each ``(1, groups, 1, 1)``; initial values too: zero and one.

    Differences: on a map of one position, where the standard deviation is 0/0, it is 0;
    ``start='identity'`` is ours.

    Args:
        in_channels: Channels of the map.
        groups: Number of groups, a divisor of ``in_channels``. ``None``: the official 64, or its largest
            divisor that also divides ``in_channels``.
        start: See :class:`~mmattn.blocks.base.AttentionBlock`.

    Shape:
        - Input and output: ``(N, C, H, W)``; gate ``'group'``: ``(N, groups, H, W)``.

    Example:
        >>> import torch
        >>> from mmattn.blocks import SGE
        >>> x = torch.rand(2, 256, 7, 5)
        >>> SGE(256, start='identity')(x).equal(x)
        True
        >>> SGE(256).gates(x)['group'].shape
        torch.Size([2, 64, 7, 5])
        >>> SGE(96).groups
        32
    """

    _abbr_ = 'sge'

    def __init__(self, in_channels: int, groups: int | None = None, start: str = 'paper', init_cfg=None):
        super().__init__(in_channels, start, init_cfg)
        self.groups = channel_groups(self, 'groups', groups, default=64)
        self.weight = nn.Parameter(torch.empty(1, self.groups, 1, 1))
        self.bias = nn.Parameter(torch.empty(1, self.groups, 1, 1))
        self.reset_start()

    def gates(self, x: Tensor) -> dict[str, Tensor]:
        with ops.full_precision(x):
            sizes = (self.groups, self.in_channels // self.groups)
            mean = ops.spatial_avg(x).unflatten(1, sizes)
            t = (x.to(mean.dtype).unflatten(1, sizes) * mean).sum(2)  # (N, groups, H, W)
            t = t - t.mean((2, 3), keepdim=True)
            # The unbiased deviation, without its 0/0 where there is one position. The norm, unlike a
            # root of a sum, has a gradient at zero; the root of the count is a tensor's, for ONNX.
            count = t.new_ones(()) * torch.sym_max(x.shape[2] * x.shape[3] - 1, 1)
            std = torch.linalg.vector_norm(t, dim=(2, 3), keepdim=True) / count.sqrt()
            return {'group': ops.sigmoid_gate(t / (std + 1e-5) * self.weight + self.bias, self.ceiling)}

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.weight)
        nn.init.ones_(self.bias)

    def last_layers(self):
        return [self]
