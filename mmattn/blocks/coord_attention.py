"""Coordinate Attention."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmattn import ops
from mmattn.blocks.base import AttentionBlock, check_positive_int
from mmattn.blocks.norm import BatchNorm2d
from mmattn.registry import MODELS


@MODELS.register_module()
class CoordAttention(AttentionBlock):
    """Coordinate Attention: in each channel a gate per row and a gate per column.

    The means of rows and of columns, ``(N, C, H, 1)`` and ``(N, C, 1, W)``, go together through a 1x1
    convolution, batch norm and hard swish, and then each through a 1x1 convolution and sigmoid of its
    own; ``x`` is multiplied by both, `Hou et al., CVPR 2021 <https://arxiv.org/abs/2103.02907>`_.
    Official code: houqb/CoordAttention, ``coordatt.py``; parameters are named and shaped as there
    (``conv1``, ``bn1``, ``conv_h``, ``conv_w``).

    Differences: where a training batch has no values the norm uses its running statistics;
    ``start='identity'`` is ours.

    Args:
        in_channels: Channels of the map.
        reduction: ``r`` of the paper; the hidden width is at least 8, as in the official code.
        start: See :class:`~mmattn.blocks.base.AttentionBlock`.

    Shape:
        - Input and output: ``(N, C, H, W)``; gates ``'width'``: ``(N, C, 1, W)``, ``'height'``:
          ``(N, C, H, 1)``.

    Example:
        >>> import torch
        >>> from mmattn.blocks import CoordAttention
        >>> x = torch.rand(2, 64, 7, 5)
        >>> CoordAttention(64, start='identity')(x).equal(x)
        True
        >>> {name: tuple(gate.shape) for name, gate in CoordAttention(64).gates(x).items()}
        {'width': (2, 64, 1, 5), 'height': (2, 64, 7, 1)}
    """

    _abbr_ = 'coord_attention'

    def __init__(self, in_channels: int, reduction: int = 32, start: str = 'paper', init_cfg=None):
        super().__init__(in_channels, start, init_cfg)
        check_positive_int(self, 'reduction', reduction)
        hidden = max(8, in_channels // reduction)
        self.conv1 = nn.Conv2d(in_channels, hidden, 1)
        self.bn1 = BatchNorm2d(hidden)
        self.conv_h = nn.Conv2d(hidden, in_channels, 1)
        self.conv_w = nn.Conv2d(hidden, in_channels, 1)
        self.reset_start()

    def gates(self, x: Tensor) -> dict[str, Tensor]:
        with ops.full_precision(x):
            rows, columns = ops.axis_avgs(x)
            seen = torch.cat([rows, columns.transpose(2, 3)], 2).to(self.conv1.weight.dtype)
            seen = F.hardswish(self.bn1(self.conv1(seen)))
            rows, columns = seen.split([x.shape[2], x.shape[3]], 2)
            width = ops.sigmoid_gate(self.conv_w(columns.transpose(2, 3)), self.ceiling)
            return {'width': width, 'height': ops.sigmoid_gate(self.conv_h(rows), self.ceiling)}

    def reset_parameters(self) -> None:
        for layer in (self.conv1, self.bn1, self.conv_h, self.conv_w):
            layer.reset_parameters()

    def last_layers(self):
        return [self.conv_h, self.conv_w]
