"""Bottleneck Attention Module."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from mmattn import ops
from mmattn.blocks.base import AttentionBlock, check_choice, check_positive_int
from mmattn.blocks.norm import BatchNorm1d, BatchNorm2d
from mmattn.registry import MODELS


class _ChannelBranch(nn.Module):
    """``(N, C, H, W) -> (N, C, 1, 1)``."""

    def __init__(self, channels: int, hidden: int, norm_last: bool):
        super().__init__()
        layers = OrderedDict(flatten=nn.Flatten(), gate_c_fc_0=nn.Linear(channels, hidden))
        if not norm_last:
            layers['gate_c_bn_1'] = BatchNorm1d(hidden)
        layers['gate_c_relu_1'] = nn.ReLU()
        layers['gate_c_fc_final'] = nn.Linear(hidden, channels)
        if norm_last:
            layers['gate_c_bn_final'] = BatchNorm1d(channels)
        self.gate_c = nn.Sequential(layers)

    def forward(self, x: Tensor) -> Tensor:
        pooled = ops.spatial_avg(x).to(self.gate_c.gate_c_fc_0.weight.dtype)
        return self.gate_c(pooled)[..., None, None]


class _SpatialBranch(nn.Module):
    """``(N, C, H, W) -> (N, 1, H, W)``."""

    def __init__(self, channels: int, hidden: int, dilation: int, norm_last: bool):
        super().__init__()
        convs = dict(reduce0=nn.Conv2d(channels, hidden, 1))
        for i in range(2):
            convs[f'di_{i}'] = nn.Conv2d(hidden, hidden, 3, padding=dilation, dilation=dilation)
        layers = OrderedDict()
        for name, conv in convs.items():
            layers[f'gate_s_conv_{name}'] = conv
            if not norm_last:
                layers[f'gate_s_bn_{name}'] = BatchNorm2d(hidden)
            layers[f'gate_s_relu_{name}'] = nn.ReLU()
        layers['gate_s_conv_final'] = nn.Conv2d(hidden, 1, 1)
        if norm_last:
            layers['gate_s_bn_final'] = BatchNorm2d(1)
        self.gate_s = nn.Sequential(layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.gate_s(x.to(self.gate_s.gate_s_conv_final.weight.dtype))


@MODELS.register_module()
class BAM(AttentionBlock):
    """Bottleneck Attention Module: a channel and a spatial branch, joined before one sigmoid.

    ``x * (1 + sigmoid(c + s))`` in the paper, ``x * (1 + sigmoid(c * s))`` in the code, with ``c`` per
    channel from the means and ``s`` per position from two dilated convolutions, `Park et al., BMVC 2018
    <https://arxiv.org/abs/1807.06514>`_. Official code: Jongchan/attention-module, ``MODELS/bam.py``;
    parameters are named and shaped as there (``channel_att.gate_c.gate_c_fc_0.weight``, ...).

    ``form='code'`` is what the published weights belong to: the product, and a norm after each hidden
    layer. ``form='paper'`` is the sum, with a single norm at the end of each branch, as its equations
    have it; they print no ReLU between the layers of what they call a multi-layer perceptron, and the
    code's are kept. Our names there are ``gate_c_bn_final`` and ``gate_s_bn_final``.

    Differences: the official code pools a square of side H, and fails on maps that are not square; this
    pools the map. Where a training batch has a single value (one picture, for the channel branch) the
    norm uses its running statistics instead of raising. A hidden width of at least 1.
    ``start='identity'`` is ours: the gate is ``2 * sigmoid(z)``, as ``1 + sigmoid(z)`` is never 1. In the
    code's form only ``c`` starts at zero: were ``s`` zero as well, neither would get a gradient.

    Args:
        in_channels: Channels of the map.
        reduction: ``r`` of both branches.
        dilation: Of the two 3x3 convolutions.
        form: ``'code'`` or ``'paper'``, see above.
        start: See :class:`~mmattn.blocks.base.AttentionBlock`.

    Shape:
        - Input and output: ``(N, C, H, W)``; gate ``'element'``: ``(N, C, H, W)``, in (1, 2) as published.

    Example:
        >>> import torch
        >>> from mmattn.blocks import BAM
        >>> x = torch.rand(2, 64, 7, 5)
        >>> BAM(64, start='identity')(x).equal(x)
        True
        >>> BAM(64, form='paper').gates(x)['element'].shape
        torch.Size([2, 64, 7, 5])
    """

    _abbr_ = 'bam'
    ceiling = 2.0

    def __init__(
        self,
        in_channels: int,
        reduction: int = 16,
        dilation: int = 4,
        form: str = 'code',
        start: str = 'paper',
        init_cfg=None,
    ):
        super().__init__(in_channels, start, init_cfg)
        check_positive_int(self, 'reduction', reduction)
        check_positive_int(self, 'dilation', dilation)
        check_choice(self, 'form', form, ('code', 'paper'))
        self.form = form
        hidden = max(in_channels // reduction, 1)
        self.channel_att = _ChannelBranch(in_channels, hidden, form == 'paper')
        self.spatial_att = _SpatialBranch(in_channels, hidden, dilation, form == 'paper')
        self.reset_start()

    @property
    def floor(self) -> float:
        return 1.0 if self.start == 'paper' else 0.0

    def gates(self, x: Tensor) -> dict[str, Tensor]:
        with ops.full_precision(x):
            channel, spatial = self.channel_att(x), self.spatial_att(x)
            z = channel + spatial if self.form == 'paper' else channel * spatial
            if self.start == 'identity':
                return {'element': ops.sigmoid_gate(z, self.ceiling)}
            return {'element': 1 + ops.sigmoid_gate(z)}

    def reset_parameters(self) -> None:
        for layer in (*self.channel_att.gate_c, *self.spatial_att.gate_s):
            if hasattr(layer, 'reset_parameters'):
                layer.reset_parameters()

    def last_layers(self):
        if self.form == 'code':
            return [self.channel_att.gate_c.gate_c_fc_final]
        return [self.channel_att.gate_c.gate_c_bn_final, self.spatial_att.gate_s.gate_s_bn_final]
