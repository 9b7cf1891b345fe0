"""CBAM's spatial attention, usable on its own."""

from __future__ import annotations

from torch import Tensor, nn

from mmattn import ops
from mmattn.blocks._checks import check_choice
from mmattn.blocks.base import AttentionBlock
from mmattn.blocks.norm import BatchNorm2d
from mmattn.registry import MODELS


class ConvNorm(nn.Module):
    """A convolution to one channel and its norm: ``(N, C, H, W) -> (N, 1, H, W)``.

    Names and settings are those of the official ``BasicConv``.
    """

    def __init__(self, channels: int, kernel_size: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, 1, kernel_size, padding=kernel_size // 2, bias=False)
        self.bn = BatchNorm2d(1, eps=1e-5, momentum=0.01)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x))


@MODELS.register_module()
class SpatialAttention(AttentionBlock):
    """CBAM's spatial attention: a gate per position from the maximum and mean over channels.

    ``x * sigmoid(bn(conv([max(x), mean(x)])))``

    Paper: `Woo et al., ECCV 2018 <https://arxiv.org/abs/1807.06521>`_, equation 3. It does not mention the
    norm; the official code and weights have it, and so has this block.

    Official code: ``SpatialGate`` in Jongchan/attention-module, ``MODELS/cbam.py``. Parameters have the
    same names and shapes (``spatial.conv.weight``, ``spatial.bn.weight``, ...). Initial values are those of
    its ``model_resnet.py``: the norm's weight is zero, the convolution Kaiming-normal.

    Differences: equal maxima share their gradient evenly; the official code gives it to the first. The norm
    uses its running statistics if a training batch has only one value (one image with a 1x1 map). The
    official code has only the descriptor ``'pool'`` and kernel size 7, so the name ``reduce.weight`` is
    new. ``start='identity'`` is new.

    Args:
        in_channels: Number of channels of the map.
        kernel_size: Kernel size of the convolution, 7 or 3.
        descriptor: Input of the convolution: ``'pool'`` for the maximum and mean over channels, or ``'conv'``
            for a learned 1x1 convolution to one channel, as in the paper's second ablation.
        start: See :class:`~mmattn.blocks.base.AttentionBlock`.

    Shape:
        - Input and output: ``(N, C, H, W)``.
        - Gate ``'spatial'``: ``(N, 1, H, W)``.

    Example:
        >>> import torch
        >>> from mmattn.blocks import SpatialAttention
        >>> x = torch.rand(2, 64, 7, 5)
        >>> SpatialAttention(64, start='identity')(x).equal(x)
        True
        >>> SpatialAttention(64, kernel_size=3, descriptor='conv').gates(x)['spatial'].shape
        torch.Size([2, 1, 7, 5])
    """

    _abbr_ = 'spatial_attention'
    supports_lazy_map = True
    lazy_from = 2**18, 2**17

    def __init__(
        self,
        in_channels: int,
        kernel_size: int = 7,
        descriptor: str = 'pool',
        start: str = 'paper',
        init_cfg: dict | None = None,
    ):
        super().__init__(in_channels, start, init_cfg)
        check_choice(self, 'kernel_size', kernel_size, (3, 7))
        check_choice(self, 'descriptor', descriptor, ('pool', 'conv'))
        self.reduce = nn.Conv2d(in_channels, 1, 1, bias=False) if descriptor == 'conv' else None
        self.spatial = ConvNorm(2 if descriptor == 'pool' else 1, kernel_size)
        self.reset_start()

    def gates(self, x: ops.FeatureMap) -> dict[str, Tensor]:
        with ops.full_precision(x):
            dtype = self.spatial.conv.weight.dtype
            if self.reduce is None:
                stats = ops.channel_stats(x).to(dtype)
            else:
                stats = self.reduce(ops.materialize(x).to(dtype))
            return {'spatial': ops.sigmoid_gate(self.spatial(stats), self.ceiling)}

    def channel_axes(self) -> dict[str, tuple[int, ...]]:
        return {}

    def reset_parameters(self) -> None:
        for conv in (self.reduce, self.spatial.conv):
            if conv is not None:
                nn.init.kaiming_normal_(conv.weight, mode='fan_out')
        self.spatial.bn.reset_parameters()
        nn.init.zeros_(self.spatial.bn.weight)

    def last_layers(self) -> list[nn.Module]:
        return [self.spatial.bn]
