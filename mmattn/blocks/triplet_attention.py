"""Triplet Attention."""

from __future__ import annotations

from torch import Tensor, nn

from mmattn import ops
from mmattn.blocks.base import AttentionBlock
from mmattn.blocks.spatial_attention import ConvNorm
from mmattn.registry import MODELS


class _Gate(nn.Module):
    """``z`` from maximum and mean over one axis, which stays as an axis of one, second: ``(N, 1, ., .)``."""

    def __init__(self):
        super().__init__()
        self.conv = ConvNorm(2, kernel_size=7)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(ops.channel_stats(x).to(self.conv.conv.weight.dtype))


@MODELS.register_module()
class TripletAttention(AttentionBlock):
    """Triplet Attention: the mean of three gates, each over two of the axes channel, height and width.

    ``x * (s1 + s2 + s3) / 3``. Each ``s`` is ``sigmoid(bn(conv([max(x), mean(x)])))`` with a 7x7 convolution
    and maximum and mean over the axis that it leaves out, `Misra et al., WACV 2021
    <https://arxiv.org/abs/2010.03045>`_. Official code: landskape-ai/triplet-attention,
    ``triplet_attention.py``; parameters are named and shaped as there: ``cw.conv.conv.weight``,
    ``cw.conv.bn.*``, ``hc...``, ``hw...``.

    Differences: equal maxima share their gradient evenly (the official code gives it to the first);
    where a training batch has a single value the norm uses its running statistics instead of raising;
    ``start='identity'`` is ours.

    Args:
        in_channels: Channels of the map. No parameter depends on them.
        no_spatial: Whether to leave out the third gate, over height and width.
        start: See :class:`~mmattn.blocks.base.AttentionBlock`.

    Shape:
        - Input and output: ``(N, C, H, W)``; gate ``'element'``: ``(N, C, H, W)``.

    Example:
        >>> import torch
        >>> from mmattn.blocks import TripletAttention
        >>> x = torch.rand(2, 64, 7, 5)
        >>> TripletAttention(64, start='identity')(x).equal(x)
        True
        >>> sum(p.numel() for p in TripletAttention(64).parameters())
        300
    """

    _abbr_ = 'triplet_attention'

    def __init__(self, in_channels: int, no_spatial: bool = False, start: str = 'paper', init_cfg=None):
        super().__init__(in_channels, start, init_cfg)
        self.cw = _Gate()
        self.hc = _Gate()
        self.hw = None if no_spatial else _Gate()
        self.reset_start()

    def gates(self, x: Tensor) -> dict[str, Tensor]:
        with ops.full_precision(x):
            # The official code swaps the axis to leave out with that of the channels, and back.
            each = [
                self.cw(x.transpose(1, 2)).transpose(1, 2),  # (N, C, 1, W)
                self.hc(x.transpose(1, 3)).transpose(1, 3),
            ]  # (N, C, H, 1)
            if self.hw is not None:
                each.append(self.hw(x))  # (N, 1, H, W)
            return {'element': sum(ops.sigmoid_gate(z, self.ceiling) for z in each) / len(each)}

    def _layers(self) -> list[ConvNorm]:
        return [gate.conv for gate in (self.cw, self.hc, self.hw) if gate is not None]

    def reset_parameters(self) -> None:
        for layer in self._layers():
            layer.conv.reset_parameters()
            layer.bn.reset_parameters()

    def last_layers(self):
        return [layer.bn for layer in self._layers()]
