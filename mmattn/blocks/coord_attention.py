"""Coordinate Attention."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmattn import ops
from mmattn.blocks._checks import check_positive_int
from mmattn.blocks.base import AttentionBlock
from mmattn.blocks.norm import BatchNorm2d
from mmattn.registry import MODELS


@MODELS.register_module()
class CoordAttention(AttentionBlock):
    """Coordinate Attention: a gate per row and a gate per column in each channel.

    The means along the rows ``(N, C, H, 1)`` and along the columns ``(N, C, 1, W)`` pass together through a
    1x1 convolution, batch norm and hard swish, then each through its own 1x1 convolution and sigmoid. ``x``
    is multiplied by both gates.

    Paper: `Hou et al., CVPR 2021 <https://arxiv.org/abs/2103.02907>`_.

    Official code: houqb/CoordAttention, ``coordatt.py``. Parameters have the same names and shapes
    (``conv1``, ``bn1``, ``conv_h``, ``conv_w``).

    Differences: the norm uses its running statistics if a training batch is empty. ``start='identity'`` is
    new.

    Args:
        in_channels: Number of channels of the map.
        reduction: The paper's reduction ratio ``r``; the hidden width is at least 8, as in the official code.
        start: See :class:`~mmattn.blocks.base.AttentionBlock`.

    Shape:
        - Input and output: ``(N, C, H, W)``.
        - Gate ``'width'``: ``(N, C, 1, W)``; gate ``'height'``: ``(N, C, H, 1)``.

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

    def __init__(
        self, in_channels: int, reduction: int = 32, start: str = 'paper', init_cfg: dict | None = None
    ):
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
            both = torch.cat([rows, columns.transpose(2, 3)], 2).to(
                self.conv1.weight.dtype
            )  # (N, C, H + W, 1)
            both = F.hardswish(self.bn1(self.conv1(both)))
            rows, columns = both.split([x.shape[2], x.shape[3]], 2)
            width = ops.sigmoid_gate(self.conv_w(columns.transpose(2, 3)), self.ceiling)
            return {'width': width, 'height': ops.sigmoid_gate(self.conv_h(rows), self.ceiling)}

    def channel_axes(self) -> dict[str, tuple[int, ...]]:
        last = ('conv_h.weight', 'conv_h.bias', 'conv_w.weight', 'conv_w.bias')
        return {'conv1.weight': (1,), **dict.fromkeys(last, (0,))}

    def reset_parameters(self) -> None:
        for layer in (self.conv1, self.bn1, self.conv_h, self.conv_w):
            layer.reset_parameters()

    def last_layers(self) -> list[nn.Module]:
        return [self.conv_h, self.conv_w]
