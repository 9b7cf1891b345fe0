"""CBAM's channel attention, usable on its own."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmattn import ops
from mmattn.blocks._checks import check_choice, hidden_width
from mmattn.blocks.base import AttentionBlock
from mmattn.registry import MODELS

_POOLS = {'avg': ops.spatial_avg, 'max': ops.spatial_max}


@MODELS.register_module()
class ChannelAttention(AttentionBlock):
    """CBAM's channel attention: a gate per channel from the channel means and maxima.

    ``x * sigmoid(mlp(avg(x)) + mlp(max(x)))``

    Paper: `Woo et al., ECCV 2018 <https://arxiv.org/abs/1807.06521>`_, equation 2. Its equations have no
    biases; the official code and weights have them, and so has this block.

    Official code: ``ChannelGate`` in Jongchan/attention-module, ``MODELS/cbam.py``. Parameters have the
    same names and shapes (``mlp.1.weight``, ...). Biases start at zero, as in its ``model_resnet.py``.

    Differences: equal maxima share their gradient evenly; the official max pooling gives it to the first.
    The hidden width is at least 1. Only the paper's two of the official code's four poolings are available.
    ``start='identity'`` is new.

    Args:
        in_channels: Number of channels of the map.
        reduction: The paper's reduction ratio ``r``.
        pool_types: ``'avg'``, ``'max'`` or both, as in the paper's first ablation.
        start: See :class:`~mmattn.blocks.base.AttentionBlock`.

    Shape:
        - Input and output: ``(N, C, H, W)``.
        - Gate ``'channel'``: ``(N, C, 1, 1)``.

    Example:
        >>> import torch
        >>> from mmattn.blocks import ChannelAttention
        >>> x = torch.rand(2, 64, 7, 5)
        >>> ChannelAttention(64, start='identity')(x).equal(x)
        True
        >>> ChannelAttention(64, pool_types=('avg', )).gates(x)['channel'].shape
        torch.Size([2, 64, 1, 1])
    """

    _abbr_ = 'channel_attention'
    supports_lazy_map = True
    lazy_from = 2**21, 2**16

    def __init__(
        self,
        in_channels: int,
        reduction: int = 16,
        pool_types: Sequence[str] = ('avg', 'max'),
        start: str = 'paper',
        init_cfg: dict | None = None,
    ):
        super().__init__(in_channels, start, init_cfg)
        self.pool_types = tuple(pool_types) if isinstance(pool_types, (list, tuple)) else pool_types
        check_choice(
            self, 'pool_types', self.pool_types, (('avg', 'max'), ('max', 'avg'), ('avg',), ('max',))
        )
        hidden = hidden_width(self, 'reduction', reduction)
        self.mlp = nn.Sequential(
            nn.Flatten(), nn.Linear(in_channels, hidden), nn.ReLU(), nn.Linear(hidden, in_channels)
        )
        self.reset_start()

    def gates(self, x: ops.FeatureMap) -> dict[str, Tensor]:
        with ops.full_precision(x):
            dtype = self.mlp[1].weight.dtype
            if len(self.pool_types) == 1:
                z = self.mlp(_POOLS[self.pool_types[0]](x).to(dtype))
            else:  # both go through the perceptron at once
                z = self.mlp(torch.cat(ops.spatial_avg_max(x)).to(dtype))
                z = z[: x.shape[0]] + z[x.shape[0] :]
            return {'channel': ops.sigmoid_gate(z[..., None, None], self.ceiling)}

    def channel_axes(self) -> dict[str, tuple[int, ...]]:
        return {'mlp.1.weight': (1,), 'mlp.3.weight': (0,), 'mlp.3.bias': (0,)}

    def reset_parameters(self) -> None:
        for layer in (self.mlp[1], self.mlp[3]):
            layer.reset_parameters()
            nn.init.zeros_(layer.bias)

    def last_layers(self) -> list[nn.Module]:
        return [self.mlp[3]]
