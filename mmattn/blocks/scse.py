"""Concurrent spatial and channel Squeeze-and-Excitation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmattn import ops
from mmattn.blocks._checks import check_choice, hidden_width
from mmattn.blocks.base import AttentionBlock
from mmattn.registry import MODELS


class _ChannelLayers(nn.Module):
    """``W2 relu(W1 avg(x))``: ``(N, C, H, W) -> (N, C, 1, 1)``."""

    def __init__(self, channels: int, hidden: int):
        super().__init__()
        self.fc1 = nn.Linear(channels, hidden)
        self.fc2 = nn.Linear(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        pooled = ops.spatial_avg(x).flatten(1).to(self.fc1.weight.dtype)
        return self.fc2(self.fc1(pooled).relu())[..., None, None]


class _SpatialLayer(nn.Module):
    """A 1x1 convolution: ``(N, C, H, W) -> (N, 1, H, W)``."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x.to(self.conv.weight.dtype))


@MODELS.register_module()
class SCSE(AttentionBlock):
    """Concurrent spatial and channel Squeeze-and-Excitation: a channel gate and a spatial gate side by side.

    ``max(x * sigmoid(W2 relu(W1 avg(x))), x * sigmoid(conv(x)))``, or the sum of the two.

    Paper: `Roy et al., MICCAI 2018 <https://arxiv.org/abs/1803.02579>`_. It adds the two products; the
    official code takes their maximum.

    Official code: ai-med/squeeze_and_excitation, ``squeeze_and_excitation/squeeze_and_excitation.py``.
    Parameters have the same names and shapes (``cSE.fc1.weight``, ``sSE.conv.weight``, ...).

    Differences: the hidden width is at least 1. ``start='identity'`` is new. With ``combine='add'`` it
    needs no factor 2, because the sum of two sigmoids at zero is 1.

    Args:
        in_channels: Number of channels of the map.
        reduction: Reduction ratio ``r`` of the channel gate; 2 in the paper and the code.
        combine: ``'max'`` as in the code, or ``'add'`` as in the paper.
        start: See :class:`~mmattn.blocks.base.AttentionBlock`.

    Shape:
        - Input and output: ``(N, C, H, W)``.
        - Gate ``'element'``: ``(N, C, H, W)``, in (0, 2) with ``combine='add'``.

    Example:
        >>> import torch
        >>> from mmattn.blocks import SCSE
        >>> x = torch.rand(2, 64, 7, 5)
        >>> SCSE(64, start='identity')(x).equal(x)
        True
        >>> SCSE(64, combine='add').gates(x)['element'].shape
        torch.Size([2, 64, 7, 5])
    """

    _abbr_ = 'scse'

    def __init__(
        self,
        in_channels: int,
        reduction: int = 2,
        combine: str = 'max',
        start: str = 'paper',
        init_cfg: dict | None = None,
    ):
        super().__init__(in_channels, start, init_cfg)
        check_choice(self, 'combine', combine, ('max', 'add'))
        self.combine = combine
        self.cSE = _ChannelLayers(in_channels, hidden_width(self, 'reduction', reduction))
        self.sSE = _SpatialLayer(in_channels)
        self.reset_start()

    @property
    def ceiling(self) -> float:
        return 2.0 if self.combine == 'add' or self.start == 'identity' else 1.0

    def _halves(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the channel gate ``(N, C, 1, 1)`` and the spatial gate ``(N, 1, H, W)``."""
        ceiling = 1.0 if self.combine == 'add' else self.ceiling
        with ops.full_precision(x):
            return ops.sigmoid_gate(self.cSE(x), ceiling), ops.sigmoid_gate(self.sSE(x), ceiling)

    def gates(self, x: Tensor) -> dict[str, Tensor]:
        channel, spatial = self._halves(x)
        if self.combine == 'add':
            return {'element': channel + spatial}
        # The larger product of a negative value is the one with the smaller gate.
        low, high = torch.minimum(channel, spatial), torch.maximum(channel, spatial)
        return {'element': torch.where(x < 0, low, high)}

    def forward(self, x: Tensor) -> Tensor:
        if self.combine == 'add':
            return super().forward(x)
        # From the products instead of gates(), whose gradient at x = 0 differs.
        return torch.maximum(*(ops.apply_gate(x, gate) for gate in self._halves(x)))

    def channel_axes(self) -> dict[str, tuple[int, ...]]:
        return {
            'cSE.fc1.weight': (1,),
            'cSE.fc2.weight': (0,),
            'cSE.fc2.bias': (0,),
            'sSE.conv.weight': (1,),
        }

    def reset_parameters(self) -> None:
        for layer in (self.cSE.fc1, self.cSE.fc2, self.sSE.conv):
            layer.reset_parameters()

    def last_layers(self) -> list[nn.Module]:
        return [self.cSE.fc2, self.sSE.conv]
