"""Efficient Channel Attention."""

from __future__ import annotations

import math

from torch import Tensor, nn

from mmattn import ops
from mmattn.blocks._checks import check_number, check_positive_int
from mmattn.blocks._small_layers import along_channels
from mmattn.blocks.base import AttentionBlock
from mmattn.registry import MODELS


def adaptive_kernel_size(channels: int, gamma: float = 2, b: float = 1) -> int:
    """The odd kernel size that the paper's equation 12 gives for a number of channels.

    Example:
        >>> [adaptive_kernel_size(c) for c in (64, 128, 256, 512, 1024, 2048)]
        [3, 5, 5, 5, 5, 7]
    """
    size = int(abs((math.log2(channels) + b) / gamma))
    return size if size % 2 else size + 1


@MODELS.register_module()
class ECA(AttentionBlock):
    """Efficient Channel Attention: a gate per channel from the means of neighbouring channels.

    ``x * sigmoid(conv1d(avg(x)))``; the convolution runs along the channel axis with zero padding.

    Paper: `Wang et al., CVPR 2020 <https://arxiv.org/abs/1910.03151>`_. Its printed listing omits the
    sigmoid.

    Official code: BangguWu/ECANet, ``models/eca_module.py``. The parameter has the same name and shape:
    ``conv.weight (1, 1, k)``.

    Differences: the kernel size follows the paper's adaptive rule unless it is given. The official code
    sets one per stage, and its released weights do not always follow the rule. ``start='identity'`` is new.

    Args:
        in_channels: Number of channels of the map.
        kernel_size: Odd kernel size; ``None`` for the adaptive rule.
        gamma: ``gamma`` in the adaptive rule.
        b: ``b`` in the adaptive rule.
        start: See :class:`~mmattn.blocks.base.AttentionBlock`.

    Shape:
        - Input and output: ``(N, C, H, W)``.
        - Gate ``'channel'``: ``(N, C, 1, 1)``.

    Example:
        >>> import torch
        >>> from mmattn.blocks import ECA
        >>> x = torch.rand(2, 256, 7, 5)
        >>> ECA(256, start='identity')(x).equal(x)
        True
        >>> ECA(256).conv.weight.shape
        torch.Size([1, 1, 5])
    """

    _abbr_ = 'eca'
    supports_lazy_map = True
    lazy_from = 2**23, 2**18

    def __init__(
        self,
        in_channels: int,
        kernel_size: int | None = None,
        gamma: float = 2,
        b: float = 1,
        start: str = 'paper',
        init_cfg: dict | None = None,
    ):
        super().__init__(in_channels, start, init_cfg)
        check_number(self, 'gamma', gamma, positive=True)
        check_number(self, 'b', b)
        by = '' if kernel_size is not None else f' by gamma={gamma} and b={b}'
        if kernel_size is None:
            kernel_size = adaptive_kernel_size(in_channels, gamma, b)
        check_positive_int(self, 'kernel_size', kernel_size, odd=True)
        if kernel_size >= 2 * in_channels:
            raise ValueError(
                f'ECA: kernel_size={kernel_size}{by}; for in_channels={in_channels} it must be at most '
                f'{2 * in_channels - 1}, since weights beyond that meet no channel'
            )
        self.conv = nn.Conv1d(1, 1, kernel_size, padding=kernel_size // 2, bias=False)
        self.reset_start()

    def gates(self, x: ops.FeatureMap) -> dict[str, Tensor]:
        with ops.full_precision(x):
            pooled = ops.spatial_avg(x).to(self.conv.weight.dtype)
            return {'channel': ops.sigmoid_gate(along_channels(self.conv, pooled), self.ceiling)}

    def channel_axes(self) -> dict[str, tuple[int, ...]]:
        return {}

    def reset_parameters(self) -> None:
        self.conv.reset_parameters()

    def last_layers(self) -> list[nn.Module]:
        return [self.conv]
