"""Spatial Group-wise Enhance."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmattn import ops
from mmattn.blocks._checks import channel_groups
from mmattn.blocks.base import AttentionBlock
from mmattn.registry import MODELS


@MODELS.register_module()
class SGE(AttentionBlock):
    """Spatial Group-wise Enhance: a gate per position in each channel group, by similarity to its mean.

    For each channel group ``x * sigmoid(weight * t + bias)``, where ``t`` is the dot product of the
    channels at a position with their spatial means, standardised over the positions.

    Paper: `Li et al., 2019 <https://arxiv.org/abs/1905.09646>`_.

    Official code: implus/PytorchInsight, ``classification/models/imagenet/resnet_sge.py``. Parameters have
    the same names, shapes and initial values: ``weight`` (zero) and ``bias`` (one), each
    ``(1, groups, 1, 1)``.

    Differences: the standard deviation of a single position is 0 instead of 0/0. ``start='identity'`` is
    new.

    Args:
        in_channels: Number of channels of the map.
        groups: Number of groups, a divisor of ``in_channels``. ``None``: the greatest common divisor of
            ``in_channels`` and 64, the official number.
        start: See :class:`~mmattn.blocks.base.AttentionBlock`.

    Shape:
        - Input and output: ``(N, C, H, W)``.
        - Gate ``'group'``: ``(N, groups, H, W)``.

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

    def __init__(
        self, in_channels: int, groups: int | None = None, start: str = 'paper', init_cfg: dict | None = None
    ):
        super().__init__(in_channels, start, init_cfg)
        self.groups = channel_groups(self, 'groups', groups, default=64)
        self.weight = nn.Parameter(torch.empty(1, self.groups, 1, 1))
        self.bias = nn.Parameter(torch.empty(1, self.groups, 1, 1))
        self.reset_start()

    def gates(self, x: Tensor) -> dict[str, Tensor]:
        with ops.full_precision(x):
            sizes = (self.groups, self.in_channels // self.groups)
            mean = ops.unflatten(ops.spatial_avg(x), 1, sizes)
            t = (ops.unflatten(x.to(mean.dtype), 1, sizes) * mean).sum(2)  # (N, groups, H, W)
            t = t - t.mean((2, 3), keepdim=True)
            # The unbiased deviation, but 0 instead of 0/0 for a single position. vector_norm has a gradient
            # at zero, which the root of a sum has not; ONNX needs the degrees of freedom as a tensor.
            freedom = t.new_ones(()) * ops.degrees_of_freedom(x)
            std = torch.linalg.vector_norm(t, dim=(2, 3), keepdim=True) / freedom.sqrt()
            return {'group': ops.sigmoid_gate(t / (std + 1e-5) * self.weight + self.bias, self.ceiling)}

    def channel_axes(self) -> dict[str, tuple[int, ...]]:
        raise ValueError('SGE compares groups of successive channels, which need the same size')

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.weight)
        nn.init.ones_(self.bias)

    def last_layers(self) -> list[nn.Module]:
        return [self]
