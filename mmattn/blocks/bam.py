"""Bottleneck Attention Module."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from mmattn import ops
from mmattn.blocks._checks import check_choice, check_positive_int, hidden_width
from mmattn.blocks.base import AttentionBlock
from mmattn.blocks.norm import BatchNorm1d, BatchNorm2d
from mmattn.registry import MODELS


class _ChannelBranch(nn.Module):
    """A perceptron on the channel means: ``(N, C, H, W) -> (N, C, 1, 1)``."""

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
    """Two dilated convolutions between two 1x1 convolutions: ``(N, C, H, W) -> (N, 1, H, W)``."""

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
    """Bottleneck Attention Module: a channel and a spatial branch under one sigmoid.

    ``x * (1 + sigmoid(c * s))`` in the official code, ``x * (1 + sigmoid(c + s))`` in the paper, where
    ``c`` comes from the channel means and ``s`` from two dilated convolutions.

    Paper: `Park et al., BMVC 2018 <https://arxiv.org/abs/1807.06514>`_.

    Official code: Jongchan/attention-module, ``MODELS/bam.py``. Parameters have the same names and shapes
    (``channel_att.gate_c.gate_c_fc_0.weight``, ...).

    The paper and its code differ, so there are two forms. ``form='code'`` multiplies the branches and has a
    norm after each hidden layer; the published weights need it. ``form='paper'`` adds the branches and has
    one norm at the end of each, named ``gate_c_bn_final`` and ``gate_s_bn_final`` here. The paper's
    equations show no ReLU between the layers of its multi-layer perceptron; both forms keep those of the
    code.

    Differences: the pooling covers the whole map; the official code pools an H x H square and fails on
    non-square maps. A norm uses its running statistics if a training batch has only one value per channel
    (one image, in the channel branch). The hidden width is at least 1. ``start='identity'`` is new: the
    gate becomes ``2 * sigmoid(z)``, because ``1 + sigmoid(z)`` is never 1. In the code's form only ``c``
    starts at zero: if ``s`` did too, neither branch would get a gradient.

    Args:
        in_channels: Number of channels of the map.
        reduction: Reduction ratio ``r`` of both branches.
        dilation: Dilation of the two 3x3 convolutions.
        form: ``'code'`` or ``'paper'``, see above.
        start: See :class:`~mmattn.blocks.base.AttentionBlock`.

    Shape:
        - Input and output: ``(N, C, H, W)``.
        - Gate ``'element'``: ``(N, C, H, W)``, in (1, 2) with ``start='paper'``.

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
        init_cfg: dict | None = None,
    ):
        super().__init__(in_channels, start, init_cfg)
        check_positive_int(self, 'dilation', dilation)
        check_choice(self, 'form', form, ('code', 'paper'))
        self.form = form
        hidden = hidden_width(self, 'reduction', reduction)
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

    def channel_axes(self) -> dict[str, tuple[int, ...]]:
        first = ('channel_att.gate_c.gate_c_fc_0.weight', 'spatial_att.gate_s.gate_s_conv_reduce0.weight')
        layers = {'gate_c_fc_final': ('weight', 'bias')}
        if self.form == 'paper':
            layers['gate_c_bn_final'] = ('weight', 'bias', 'running_mean', 'running_var')
        last = [f'channel_att.gate_c.{layer}.{name}' for layer, names in layers.items() for name in names]
        return {**dict.fromkeys(first, (1,)), **dict.fromkeys(last, (0,))}

    def reset_parameters(self) -> None:
        for layer in (*self.channel_att.gate_c, *self.spatial_att.gate_s):
            if hasattr(layer, 'reset_parameters'):
                layer.reset_parameters()

    def last_layers(self) -> list[nn.Module]:
        if self.form == 'code':
            return [self.channel_att.gate_c.gate_c_fc_final]
        return [self.channel_att.gate_c.gate_c_bn_final, self.spatial_att.gate_s.gate_s_bn_final]
