"""Selective kernel convolution."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from mmattn import ops
from mmattn._private_apis import overrides
from mmattn.blocks._checks import check_bool, check_choice, check_positive_int
from mmattn.blocks.base import AttentionBlock
from mmattn.blocks.norm import BatchNorm2d
from mmattn.registry import MODELS
from mmattn.wanted import is_whole


class _Select(nn.Module):
    """The branches' weights: ``(N, C, 1, 1) -> (N, M, C, 1, 1)``."""

    def __init__(self, channels: int, hidden: int, branches: int):
        super().__init__()
        self.fc_reduce = nn.Conv2d(channels, hidden, 1, bias=False)
        self.bn = BatchNorm2d(hidden)
        self.act = nn.ReLU()
        self.fc_select = nn.Conv2d(hidden, channels * branches, 1, bias=False)
        self.sizes = (branches, channels)

    def forward(self, pooled: Tensor) -> Tensor:
        z = self.act(self.bn(self.fc_reduce(pooled.to(self.fc_reduce.weight.dtype))))
        return torch.softmax(ops.unflatten(self.fc_select(z), 1, self.sizes), 1)


@MODELS.register_module()
class SKConv(AttentionBlock):
    """Selective kernel convolution: branches with different receptive fields, weighted per channel.

    ``sum_i(a_i * u_i)``, where ``u_i = relu(norm(conv_i(x)))`` is a branch, and ``a`` is a softmax over the
    branches of ``W2 relu(norm(W1 avg(sum_i(u_i))))`` for each channel.

    Paper: `Li et al., CVPR 2019 <https://arxiv.org/abs/1903.06586>`_.

    Official code: implus/SKNet (Caffe). Parameters have the names and shapes of timm's ``SelectiveKernel``
    (``timm/layers/selective_kernel.py``) with ``split_input=False``: ``paths.0.conv``, ``paths.0.bn``,
    ``attn.fc_reduce``, ``attn.bn``, ``attn.fc_select``.

    It replaces a convolution, so it goes where MMDetection takes one: in a backbone with bottlenecks as
    ``dcn=dict(type='mmattn.SKConv', fallback_on_stride=False), stage_with_dcn=(True, ) * 4``, and wherever
    there is a ``conv_cfg`` for convolutions larger than 1x1.

    A checkpoint of the plain model loads: the first branch takes the weights of the convolution that it
    replaces, and only the other parameters are missing. With ``start='identity'`` the output then equals
    that of this convolution, bit for bit: the first branch is the convolution alone, the other branches
    have no ReLU and a norm whose weight starts at zero, and the branches' weights are ``M * a``, which
    start at 1.

    Differences: MMDetection puts its own norm and ReLU after the weighted sum; in the paper only the
    branches have them. With ``start='identity'`` they follow the sum as they followed the convolution. A
    norm uses its running statistics if a training batch has only one value per channel. timm splits the
    input among the branches by default.

    Args:
        in_channels: This and the next seven are those of the first branch's ``torch.nn.Conv2d``; the other
            branches give maps of the same size.
        out_channels: Number of channels of the result.
        kernel_size: Odd, and larger than 1x1.
        stride: Stride of all branches.
        padding: Padding of the first branch.
        dilation: Dilation of the first branch.
        groups: Groups of all branches.
        bias: If True, all branches have biases.
        branches: Number of branches, ``M`` in the paper.
        by: How the branches differ. ``'dilation'``: the i-th has i times the dilation of the first.
            ``'kernel_size'``: each kernel is larger by 2 than the one before.
        reduction: Reduction ratio ``r``; the hidden width is ``out_channels // r``.
        min_channels: Smallest hidden width, ``L`` in the paper.
        start: ``'paper'`` or ``'identity'``, see above.

    Shape:
        - Input: ``(N, C, H, W)``; output: as of the convolution.
        - Gate ``'branch'``: ``(N, M, C, 1, 1)``.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from mmattn.blocks import SKConv
        >>> conv = nn.Conv2d(64, 64, 3, stride=2, padding=1, groups=32, bias=False)
        >>> selective = SKConv(64, 64, 3, stride=2, padding=1, groups=32, start='identity')
        >>> selective.load_state_dict(conv.state_dict(), strict=False).unexpected_keys
        []
        >>> x = torch.randn(2, 64, 9, 7)
        >>> selective(x).equal(conv(x))
        True
    """

    _abbr_ = 'sk_conv'
    role = 'convolution'
    # MMCV's ConvModule reads these attributes of its convolution.
    transposed = False
    output_padding = (0, 0)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int] = 3,
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = False,
        branches: int = 2,
        by: str = 'dilation',
        reduction: int = 16,
        min_channels: int = 32,
        start: str = 'paper',
        init_cfg: dict | None = None,
    ):
        super().__init__(in_channels, start, init_cfg)
        for name, value in dict(
            out_channels=out_channels,
            groups=groups,
            branches=branches,
            reduction=reduction,
            min_channels=min_channels,
        ).items():
            check_positive_int(self, name, value)
        check_bool(self, 'bias', bias)
        check_choice(self, 'by', by, ('dilation', 'kernel_size'))
        self.kernel_size = self._pair('kernel_size', kernel_size, 1)
        self.stride = self._pair('stride', stride, 1)
        self.padding = self._pair('padding', padding, 0)
        self.dilation = self._pair('dilation', dilation, 1)
        for name, channels in dict(in_channels=in_channels, out_channels=out_channels).items():
            if channels % groups:
                raise ValueError(f'SKConv: groups={groups}; it must divide {name}={channels}')
        if any(k % 2 == 0 for k in self.kernel_size) or max(self.kernel_size) == 1:
            raise ValueError(
                f'SKConv: kernel_size={kernel_size!r}; it must be odd and larger than 1, so '
                'that the branches can have different receptive fields. A conv_cfg reaches 1x1 convolutions '
                "too: for the 3x3 ones of a ResNet write dcn=dict(type='mmattn.SKConv', "
                'fallback_on_stride=False)'
            )
        if branches < 2:
            raise ValueError(f'SKConv: branches={branches!r}; it must be at least 2')
        self.out_channels = out_channels
        self.groups = groups
        self.paths = nn.ModuleList(self._branch(i, by, bias) for i in range(branches))
        self.attn = _Select(out_channels, max(out_channels // reduction, min_channels), branches)
        self.reset_start()

    def _pair(self, name: str, value: int | tuple[int, int], least: int) -> tuple[int, int]:
        """Return the height's and the width's value of an option."""
        pair = tuple(value) if isinstance(value, (list, tuple)) else (value, value)
        if len(pair) != 2 or not all(is_whole(each, least) for each in pair):
            raise ValueError(
                f'SKConv: {name}={value!r}; it must be one whole number or two, each at least {least}'
            )
        return pair

    def _branch(self, i: int, by: str, bias: bool) -> nn.Sequential:
        """Build the i-th branch, padded to the output size of the first."""
        growth = 2 * i if by == 'kernel_size' else 0
        factor = i + 1 if by == 'dilation' else 1
        kernel_size = [k + growth if k > 1 else k for k in self.kernel_size]
        dilation = [d * factor for d in self.dilation]
        padding = [
            p + (d * (k - 1) - d0 * (k0 - 1)) // 2
            for p, d, k, d0, k0 in zip(self.padding, dilation, kernel_size, self.dilation, self.kernel_size)
        ]
        layers = OrderedDict(
            conv=nn.Conv2d(
                self.in_channels,
                self.out_channels,
                kernel_size,
                self.stride,
                padding,
                dilation,
                self.groups,
                bias,
            )
        )
        if i > 0 or self.start == 'paper':
            layers['bn'] = BatchNorm2d(self.out_channels)
        if self.start == 'paper':
            layers['act'] = nn.ReLU()
        return nn.Sequential(layers)

    def _branches(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        """Return the branches' outputs and their weights ``(N, M, C, 1, 1)``."""
        outputs = [path(x) for path in self.paths]
        with ops.full_precision(x):
            weights = self.attn(sum(ops.spatial_avg(each) for each in outputs))
            return outputs, weights * len(outputs) if self.start == 'identity' else weights

    @property
    def ceiling(self) -> float:
        return float(len(self.paths)) if self.start == 'identity' else 1.0

    def gates(self, x: Tensor) -> dict[str, Tensor]:
        return {'branch': self._branches(x)[1]}

    def forward(self, x: Tensor) -> Tensor:
        outputs, weights = self._branches(x)
        return sum(ops.apply_gate(output, weight) for output, weight in zip(outputs, weights.unbind(1)))

    def channel_axes(self) -> dict[str, tuple[int, ...]]:
        raise ValueError('SKConv is a convolution of several branches, and not one block on a map')

    def reset_parameters(self) -> None:
        for layer in self.modules():
            if layer is not self and hasattr(layer, 'reset_parameters'):
                layer.reset_parameters()
        for path in self.paths:
            nn.init.kaiming_normal_(path.conv.weight, mode='fan_out', nonlinearity='relu')
        for layer in (self.attn.fc_reduce, self.attn.fc_select):
            nn.init.normal_(layer.weight, std=0.01)

    def last_layers(self) -> list[nn.Module]:
        return [self.attn.fc_select, *(path.bn for path in self.paths[1:])]

    @overrides(nn.Module)
    def _load_from_state_dict(self, state_dict, prefix, *args, **kwargs):
        for name in ('weight', 'bias'):  # of the convolution that this block replaces
            own = f'{prefix}paths.0.conv.{name}'
            if f'{prefix}{name}' in state_dict and own not in state_dict:
                state_dict[own] = state_dict.pop(f'{prefix}{name}')
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def extra_repr(self) -> str:
        return (
            f'{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, '
            f'stride={self.stride}, branches={len(self.paths)}, start={self.start!r}'
        )
