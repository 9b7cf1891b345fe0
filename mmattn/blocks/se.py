"""Squeeze-and-Excitation."""

from __future__ import annotations

from torch import Tensor, nn

from mmattn import ops
from mmattn.blocks._checks import check_bool, hidden_width
from mmattn.blocks._small_layers import perceptron
from mmattn.blocks.base import AttentionBlock
from mmattn.registry import MODELS


@MODELS.register_module()
class SE(AttentionBlock):
    """Squeeze-and-Excitation: a gate per channel from the channel means.

    ``x * sigmoid(W2 relu(W1 avg(x)))``

    Paper: `Hu et al., CVPR 2018 <https://arxiv.org/abs/1709.01507>`_.

    Official code: hujie-frank/SENet, ``models/SE-ResNet-50.prototxt`` (Caffe). Parameters have the names
    and shapes of timm's ``SEModule`` (``timm/layers/squeeze_excite.py``): ``fc1``, ``fc2``.

    Differences: ``start='identity'`` is new. The hidden width is ``C // reduction`` as in the paper, at
    least 1; timm rounds it to a multiple of 8.

    Args:
        in_channels: Number of channels of the map.
        reduction: The paper's reduction ratio ``r``.
        bias: If True, both layers have biases. The released Caffe models have them; the paper's ablations and
            ECA-Net's parameter counts do without.
        start: See :class:`~mmattn.blocks.base.AttentionBlock`.

    Shape:
        - Input and output: ``(N, C, H, W)``.
        - Gate ``'channel'``: ``(N, C, 1, 1)``.

    Example:
        >>> import torch
        >>> from mmattn.blocks import SE
        >>> x = torch.rand(2, 64, 7, 5)
        >>> SE(64, start='identity')(x).equal(x)
        True
        >>> SE(64).gates(x)['channel'].shape
        torch.Size([2, 64, 1, 1])
    """

    _abbr_ = 'se'
    supports_lazy_map = True
    lazy_from = 2**23, 2**18

    def __init__(
        self,
        in_channels: int,
        reduction: int = 16,
        bias: bool = True,
        start: str = 'paper',
        init_cfg: dict | None = None,
    ):
        super().__init__(in_channels, start, init_cfg)
        check_bool(self, 'bias', bias)
        hidden = hidden_width(self, 'reduction', reduction)
        self.fc1 = nn.Conv2d(in_channels, hidden, 1, bias=bias)
        self.relu = nn.ReLU(inplace=True)
        self.fc2 = nn.Conv2d(hidden, in_channels, 1, bias=bias)
        self.reset_start()

    def gates(self, x: ops.FeatureMap) -> dict[str, Tensor]:
        with ops.full_precision(x):
            pooled = ops.spatial_avg(x).to(self.fc1.weight.dtype)
            z = perceptron(self.fc1, self.relu, self.fc2, pooled)
            return {'channel': ops.sigmoid_gate(z, self.ceiling)}

    def channel_axes(self) -> dict[str, tuple[int, ...]]:
        return {'fc1.weight': (1,), 'fc2.weight': (0,), 'fc2.bias': (0,)}

    def reset_parameters(self) -> None:
        self.fc1.reset_parameters()
        self.fc2.reset_parameters()

    def last_layers(self) -> list[nn.Module]:
        return [self.fc2]
