"""Efficient Multi-scale Attention."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmattn import ops
from mmattn.blocks._checks import channel_groups
from mmattn.blocks.base import AttentionBlock
from mmattn.registry import MODELS


@MODELS.register_module()
class EMA(AttentionBlock):
    """Efficient Multi-scale Attention: a gate per position in each channel group, from two branches.

    Within a group, one branch gates rows and columns by a 1x1 convolution of their means and normalises the
    result; the other is a 3x3 convolution. The softmax of each branch's channel means weights the other
    branch's channels. The sigmoid of the two sums is the gate. The groups share all parameters. Not to be
    confused with the exponential moving average of weights.

    Paper: `Ouyang et al., ICASSP 2023 <https://arxiv.org/abs/2305.13563>`_.

    Official code: YOLOonMe/EMA-attention-module, ``EMA_attention_module``. Parameters have the same names
    and shapes (``gn``, ``conv1x1``, ``conv3x3``).

    Differences: a batch with one value per channel is normalised to zero instead of raising an error.
    ``start='identity'`` is new: ``gn`` and ``conv3x3`` start at zero.

    Args:
        in_channels: Number of channels of the map.
        factor: Number of groups, a divisor of ``in_channels``. ``None``: the greatest common divisor of
            ``in_channels`` and 32, the official number.
        start: See :class:`~mmattn.blocks.base.AttentionBlock`.

    Shape:
        - Input and output: ``(N, C, H, W)``.
        - Gate ``'group'``: ``(N, factor, H, W)``.

    Example:
        >>> import torch
        >>> from mmattn.blocks import EMA
        >>> x = torch.rand(2, 64, 7, 5)
        >>> EMA(64, start='identity')(x).equal(x)
        True
        >>> EMA(64, factor=8).gates(x)['group'].shape
        torch.Size([2, 8, 7, 5])
    """

    _abbr_ = 'ema'

    def __init__(
        self, in_channels: int, factor: int | None = None, start: str = 'paper', init_cfg: dict | None = None
    ):
        super().__init__(in_channels, start, init_cfg)
        self.factor = channel_groups(self, 'factor', factor, default=32)
        width = in_channels // self.factor
        self.gn = nn.GroupNorm(width, width)
        self.conv1x1 = nn.Conv2d(width, width, 1)
        self.conv3x3 = nn.Conv2d(width, width, 3, padding=1)
        self.reset_start()

    def gates(self, x: Tensor) -> dict[str, Tensor]:
        n, _, h, w = x.shape
        gn = self.gn
        with ops.full_precision(x):
            dtype = gn.weight.dtype
            x = ops.unflatten(x.to(dtype), 1, (self.factor, gn.num_channels)).flatten(0, 1)
            rows, columns = (avg.to(dtype) for avg in ops.axis_avgs(x))
            both = self.conv1x1(torch.cat([rows, columns.transpose(2, 3)], 2))
            rows, columns = both.sigmoid().split([h, w], 2)
            # torch.group_norm instead of gn(...), which raises on a single value per channel.
            gated = x * rows * columns.transpose(2, 3)
            gated = torch.group_norm(gated, gn.num_groups, gn.weight, gn.bias, gn.eps)
            local = self.conv3x3(x)
            # Each branch's channel means weight the other branch's channels: (N * factor, 1, H, W).
            z = sum(
                (ops.spatial_avg(means_of).softmax(1) * weighted).sum(1, keepdim=True)
                for means_of, weighted in ((gated, local), (local, gated))
            )
            return {'group': ops.sigmoid_gate(ops.unflatten(z, 0, (n, self.factor)).squeeze(2), self.ceiling)}

    def channel_axes(self) -> dict[str, tuple[int, ...]]:
        raise ValueError('EMA convolves groups of successive channels, which need the same size')

    def reset_parameters(self) -> None:
        for layer in (self.gn, self.conv1x1, self.conv3x3):
            layer.reset_parameters()

    def last_layers(self) -> list[nn.Module]:
        return [self.gn, self.conv3x3]
