"""Effective Squeeze-and-Excitation."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from mmattn import ops
from mmattn.blocks._small_layers import pointwise
from mmattn.blocks.base import AttentionBlock
from mmattn.registry import MODELS


@MODELS.register_module()
class ESE(AttentionBlock):
    """Effective Squeeze-and-Excitation: a gate per channel from one layer without channel reduction.

    ``x * hardsigmoid(W avg(x))`` with ``hardsigmoid(z) = relu6(z + 3) / 6``; the eSE module of VoVNetV2.

    Paper: `Lee and Park, CenterMask, CVPR 2020 <https://arxiv.org/abs/1911.06667>`_. It writes SE's
    sigmoid; the official code and weights have the hard sigmoid, and so has this block.

    Official code: youngwanLEE/vovnet-detectron2, ``vovnet/vovnet.py``. Parameters have the same names,
    shapes and initial values (a Kaiming-normal weight): ``fc.weight (C, C, 1, 1)``, ``fc.bias``. timm's
    ``EffectiveSEModule`` and MMDetection's ``ChannelAttention`` (in RTMDet) name them so too.

    Differences: ``start='identity'`` is new. Its gate ``2 * hardsigmoid(z)`` starts with slope 1/3.

    Args:
        in_channels: Number of channels of the map.
        start: See :class:`~mmattn.blocks.base.AttentionBlock`.

    Shape:
        - Input and output: ``(N, C, H, W)``.
        - Gate ``'channel'``: ``(N, C, 1, 1)``.

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
    supports_lazy_map = True
    lazy_from = 2**23, 2**18

    def __init__(self, in_channels: int, start: str = 'paper', init_cfg: dict | None = None):
        super().__init__(in_channels, start, init_cfg)
        self.fc = nn.Conv2d(in_channels, in_channels, 1)
        self.reset_start()

    def gates(self, x: ops.FeatureMap) -> dict[str, Tensor]:
        with ops.full_precision(x):
            z = pointwise(self.fc, ops.spatial_avg(x).to(self.fc.weight.dtype))
            # Divided rather than multiplied by 1/6: exactly 1/2 at z = 0 on every device.
            return {'channel': F.relu6(z + 3) / 6 * self.ceiling}

    def channel_axes(self) -> dict[str, tuple[int, ...]]:
        return {'fc.weight': (0, 1), 'fc.bias': (0,)}

    def reset_parameters(self) -> None:
        self.fc.reset_parameters()
        nn.init.kaiming_normal_(self.fc.weight)

    def last_layers(self) -> list[nn.Module]:
        return [self.fc]
