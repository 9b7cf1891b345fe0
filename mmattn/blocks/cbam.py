"""Convolutional Block Attention Module."""

from __future__ import annotations

from torch import Tensor

from mmattn import ops
from mmattn.blocks._checks import check_choice, hidden_width
from mmattn.blocks.base import AttentionBlock
from mmattn.blocks.channel_attention import ChannelAttention
from mmattn.blocks.channels import inner_channel_axes
from mmattn.blocks.spatial_attention import SpatialAttention
from mmattn.registry import MODELS


@MODELS.register_module()
class CBAM(AttentionBlock):
    """Convolutional Block Attention Module: a gate per channel, then a gate per position.

    ``y = x * sigmoid(mlp(avg(x)) + mlp(max(x)))``, then ``y * sigmoid(bn(conv([max(y), mean(y)])))`` with
    maximum and mean over channels: :class:`ChannelAttention`, then :class:`SpatialAttention`, which have
    more options.

    Paper: `Woo et al., ECCV 2018 <https://arxiv.org/abs/1807.06521>`_. It does not mention the norm, and
    its equations have no biases; the official code and weights have both, and so has this block.

    Official code: Jongchan/attention-module, ``MODELS/cbam.py``. Parameters have the same names and shapes
    (``ChannelGate.mlp.1.weight``, ``SpatialGate.spatial.conv.weight``, ...), so its weights load. Initial
    values are those of its ``model_resnet.py``: biases and the weight of the spatial gate's norm are zero,
    its convolution Kaiming-normal.

    Differences: equal maxima share their gradient evenly; the official max pooling gives it to the first.
    The hidden width is at least 1. The norm uses its running statistics if a training batch has only one
    value (one image with a 1x1 map). ``start='identity'`` is new.

    Args:
        in_channels: Number of channels of the map.
        reduction: Reduction ratio ``r`` of the channel gate.
        kernel_size: Kernel size of the spatial gate's convolution, 7 or 3.
        start: See :class:`~mmattn.blocks.base.AttentionBlock`.

    Shape:
        - Input and output: ``(N, C, H, W)``.
        - Gate ``'channel'``: ``(N, C, 1, 1)``; gate ``'spatial'``: ``(N, 1, H, W)``.

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
    supports_lazy_map = True
    lazy_from = 2**18, 2**16

    def __init__(
        self, in_channels: int, reduction: int = 16, kernel_size: int = 7, start: str = 'paper', init_cfg=None
    ):
        super().__init__(in_channels, start, init_cfg)
        hidden_width(self, 'reduction', reduction)  # its errors name this block
        check_choice(self, 'kernel_size', kernel_size, (3, 7))
        self.ChannelGate = ChannelAttention(in_channels, reduction, start=start)
        self.SpatialGate = SpatialAttention(in_channels, kernel_size, start=start)
        self.reset_start()

    def gates(self, x: ops.FeatureMap) -> dict[str, Tensor]:
        channel = self.ChannelGate.gates(x)
        return {**channel, **self.SpatialGate.gates(ops.apply_gate(x, channel['channel']))}

    def takes_lazy_map(self) -> bool:
        halves = self.ChannelGate, self.SpatialGate
        return super().takes_lazy_map() and all(
            half.supports_lazy_map and half.only_applies_gates() for half in halves
        )

    def forward(self, x: Tensor) -> Tensor:
        lazy = self.lazy_map(x)
        if lazy is not x:
            return ops.materialize(self.apply_gates(lazy))
        # gates() would compute the product with the channel gate, which the output needs too, twice.
        return self.SpatialGate(self.ChannelGate(x))

    def channel_axes(self) -> dict[str, tuple[int, ...]]:
        return inner_channel_axes(self)

    def reset_parameters(self) -> None:
        self.ChannelGate.reset_start()
        self.SpatialGate.reset_start()
