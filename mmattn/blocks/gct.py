"""Gated Channel Transformation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmattn import ops
from mmattn.blocks._checks import check_bool, check_choice, check_number
from mmattn.blocks.base import AttentionBlock
from mmattn.registry import MODELS


@MODELS.register_module()
class GCT(AttentionBlock):
    """Gated Channel Transformation: channels compete or cooperate through their norms.

    ``x * (1 + tanh(gamma * s / rms(s) + beta))`` with ``s = alpha * norm(x)``, where ``norm`` is taken over
    each channel's map and ``rms`` over the channels.

    Paper: `Yang et al., CVPR 2020 <https://arxiv.org/abs/1909.11519>`_.

    Official code: z-x-yang/GCT, ``PyTorch/GCT.py``. Parameters have the same names, shapes and initial
    values: ``alpha``, ``gamma``, ``beta``, each ``(1, C, 1, 1)``. As ``gamma`` and ``beta`` start at zero,
    the output equals the input from the start, and both values of ``start`` mean the same. The authors
    train ``beta`` without weight decay: ``custom_keys={'beta': dict(decay_mult=0.)}``.

    Differences: no value differs. The constructor refuses an unknown ``mode``.

    Args:
        in_channels: Number of channels of the map.
        epsilon: Small number that keeps the roots (``'l2'``) or the divisor (``'l1'``) above zero.
        mode: ``'l2'``, or ``'l1'``, which replaces both norms by sums of absolute values.
        after_relu: If True, the map has no negative values, and ``'l1'`` skips taking absolute values.
        start: See :class:`~mmattn.blocks.base.AttentionBlock`.

    Shape:
        - Input and output: ``(N, C, H, W)``.
        - Gate ``'channel'``: ``(N, C, 1, 1)``, in (0, 2).

    Example:
        >>> import torch
        >>> from mmattn.blocks import GCT
        >>> x = torch.rand(2, 64, 7, 5)
        >>> GCT(64)(x).equal(x)
        True
        >>> GCT(64).gates(x)['channel'].shape
        torch.Size([2, 64, 1, 1])
    """

    _abbr_ = 'gct'
    paper_is_identity = True
    ceiling = 2.0

    def __init__(
        self,
        in_channels: int,
        epsilon: float = 1e-5,
        mode: str = 'l2',
        after_relu: bool = False,
        start: str = 'paper',
        init_cfg: dict | None = None,
    ):
        super().__init__(in_channels, start, init_cfg)
        check_number(self, 'epsilon', epsilon, positive=True)
        check_choice(self, 'mode', mode, ('l2', 'l1'))
        check_bool(self, 'after_relu', after_relu)
        self.epsilon = epsilon
        self.mode = mode
        self.after_relu = after_relu
        for name in ('alpha', 'gamma', 'beta'):
            setattr(self, name, nn.Parameter(torch.empty(1, in_channels, 1, 1)))
        self.reset_start()

    def gates(self, x: Tensor) -> dict[str, Tensor]:
        with ops.full_precision(x):
            x = x.to(ops.accurate_dtype(x))
            if self.mode == 'l2':
                s = (x.square().sum((2, 3), keepdim=True) + self.epsilon).sqrt() * self.alpha
                scale = (s.square().mean(1, keepdim=True) + self.epsilon).sqrt()
            else:
                s = (x if self.after_relu else x.abs()).sum((2, 3), keepdim=True) * self.alpha
                scale = s.abs().mean(1, keepdim=True) + self.epsilon
            return {'channel': 1 + torch.tanh(self.gamma * s / scale + self.beta)}

    def channel_axes(self) -> dict[str, tuple[int, ...]]:
        return {'alpha': (1,), 'gamma': (1,), 'beta': (1,)}

    def reset_parameters(self) -> None:
        nn.init.ones_(self.alpha)
        nn.init.zeros_(self.gamma)
        nn.init.zeros_(self.beta)
