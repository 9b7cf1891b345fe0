"""Effective Squeeze-and-Excitation."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from mmattn import ops
from mmattn.blocks.base import AttentionBlock
from mmattn.registry import MODELS


@MODELS.register_module()
class ESE(AttentionBlock):
    """Effective Squeeze-and-Excitation: a gate per channel through one layer that keeps all channels.

    ``x * hardsigmoid(W avg(x))`` with ``hardsigmoid(z) = relu6(z + 3) / 6``, the eSE of VoVNetV2,
    `Lee and Park, CenterMask, CVPR 2020 <https://arxiv.org/abs/1911.06667>`_. Official code:
    youngwanLEE/vovnet-detectron2, ``vovnet/vovnet.py``; parameters are named and shaped as there,
    ``fc.weight (C, C, 1, 1)`` and ``fc.bias``, and so in timm's ``EffectiveSEModule`` and in MMDetection's
    ``ChannelAttention`` (of RTMDet). Initial values are those of the official code: Kaiming-normal weight.

    The paper writes SE's sigmoid; the official code and its weights have the hard one.

    Differences: ``start='identity'``, whose gate ``2 * hardsigmoid(z)`` has slope 1/3 at its start, is ours.

    Args:
        in_channels: Channels of the map.
        start: See :class:`~mmattn.blocks.base.AttentionBlock`.

    Shape:
        - Input and output: ``(N, C, H, W)``; gate ``'channel'``: ``(N, C, 1, 1)``.

    Example:
        >>> import torch
        >>> from mmattn.blocks import ESE
        >>> x = torch.rand(2, 64, 7, 5)
        >>> ESE(64, start='identity')(x).equal(x)
        True
        >>> ESE(64).gates(x)['channel'].shape
        torch.Size([2, 64, 1, 1])
    """

    _abbr_ = 'ese'
    by_ops = True

    def __init__(self, in_channels: int, start: str = 'paper', init_cfg=None):
        super().__init__(in_channels, start, init_cfg)
        self.fc = nn.Conv2d(in_channels, in_channels, 1)
        self.reset_start()

    def gates(self, x: ops.Map) -> dict[str, Tensor]:
        with ops.full_precision(x):
            z = self.fc(ops.spatial_avg(x).to(self.fc.weight.dtype))
            # Divided rather than multiplied by 1/6: exactly 1/2 at z = 0 on every device.
            return {'channel': F.relu6(z + 3) / 6 * self.ceiling}

    def reset_parameters(self) -> None:
        self.fc.reset_parameters()
        nn.init.kaiming_normal_(self.fc.weight)

    def last_layers(self):
        return [self.fc]
