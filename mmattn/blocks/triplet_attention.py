"""Triplet Attention."""

from __future__ import annotations

from torch import Tensor, nn

from mmattn import ops
from mmattn.blocks._checks import check_bool
from mmattn.blocks.base import AttentionBlock
from mmattn.blocks.spatial_attention import ConvNorm
from mmattn.registry import MODELS


class _Gate(nn.Module):
    """A gate's argument from maximum and mean over the second axis: ``(N, C, H, W) -> (N, 1, H, W)``."""

    def __init__(self):
        super().__init__()
        self.conv = ConvNorm(2, kernel_size=7)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(ops.channel_stats(x).to(self.conv.conv.weight.dtype))


@MODELS.register_module()
class TripletAttention(AttentionBlock):
    """Triplet Attention: the mean of three gates, one per pair of the axes channel, height and width.

    ``x * (s1 + s2 + s3) / 3`` with ``s = sigmoid(bn(conv([max(x), mean(x)])))``: each ``s`` pools over one
    axis and applies a 7x7 convolution to the other two.

    Paper: `Misra et al., WACV 2021 <https://arxiv.org/abs/2010.03045>`_.

    Official code: landskape-ai/triplet-attention, ``triplet_attention.py``. Parameters have the same names
    and shapes: ``cw.conv.conv.weight``, ``cw.conv.bn.*``, ``hc...``, ``hw...``.

    Differences: equal maxima share their gradient evenly; the official code gives it to the first. A norm
    uses its running statistics if a training batch has only one value. ``start='identity'`` is new.

    Args:
        in_channels: Number of channels of the map. No parameter depends on it.
        no_spatial: If True, leave out the third gate, over height and width.
        start: See :class:`~mmattn.blocks.base.AttentionBlock`.

    Shape:
        - Input and output: ``(N, C, H, W)``.
        - Gate ``'element'``: ``(N, C, H, W)``.

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

    def __init__(
        self, in_channels: int, no_spatial: bool = False, start: str = 'paper', init_cfg: dict | None = None
    ):
        super().__init__(in_channels, start, init_cfg)
        check_bool(self, 'no_spatial', no_spatial)
        self.cw = _Gate()
        self.hc = _Gate()
        self.hw = None if no_spatial else _Gate()
        self.reset_start()

    def gates(self, x: Tensor) -> dict[str, Tensor]:
        with ops.full_precision(x):
            # As in the official code, the axis to pool trades places with the channels, and back.
            zs = [
                self.cw(x.transpose(1, 2)).transpose(1, 2),  # (N, C, 1, W)
                self.hc(x.transpose(1, 3)).transpose(1, 3),  # (N, C, H, 1)
            ]
            if self.hw is not None:
                zs.append(self.hw(x))  # (N, 1, H, W)
            return {'element': sum(ops.sigmoid_gate(z, self.ceiling) for z in zs) / len(zs)}

    def _layers(self) -> list[ConvNorm]:
        return [gate.conv for gate in (self.cw, self.hc, self.hw) if gate is not None]

    def channel_axes(self) -> dict[str, tuple[int, ...]]:
        return {}

    def reset_parameters(self) -> None:
        for layer in self._layers():
            layer.conv.reset_parameters()
            layer.bn.reset_parameters()

    def last_layers(self) -> list[nn.Module]:
        return [layer.bn for layer in self._layers()]
