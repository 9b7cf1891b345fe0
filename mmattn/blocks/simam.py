"""SimAM, the simple, parameter-free attention module."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmattn import ops
from mmattn.blocks._checks import check_number
from mmattn.blocks.base import AttentionBlock
from mmattn.registry import MODELS


@MODELS.register_module()
class SimAM(AttentionBlock):
    """SimAM: a parameter-free gate per element from its distance to the channel mean.

    ``x * sigmoid(d^2 / (4 * (v + e_lambda)) + 1/2)`` with ``d = x - mean(x)`` and ``v`` the variance of
    each channel's map. The gate is at least ``sigmoid(1/2)``, about 0.62, and nothing in it is learned.

    Paper: `Yang et al., ICML 2021 <https://proceedings.mlr.press/v139/yang21o.html>`_.

    Official code: ZjjConan/SimAM, ``networks/attentions/simam_module.py``.

    Differences: the variance of a single element is 0 instead of 0/0. ``start='identity'`` is new. It adds
    one parameter, ``weight``, which starts at zero: the gate is ``2 * sigmoid(weight * z)`` for the ``z``
    above, so training decides how much of this attention, or of its opposite, to use.

    Args:
        in_channels: Number of channels of the map.
        e_lambda: The paper's regulariser ``lambda``.
        start: See :class:`~mmattn.blocks.base.AttentionBlock`; ``'paper'`` has no parameters.

    Shape:
        - Input and output: ``(N, C, H, W)``.
        - Gate ``'element'``: ``(N, C, H, W)``.

    Example:
        >>> import torch
        >>> from mmattn.blocks import SimAM
        >>> x = torch.rand(2, 64, 7, 5)
        >>> SimAM(64, start='identity')(x).equal(x)
        True
        >>> len(SimAM(64).state_dict()), len(SimAM(64, start='identity').state_dict())
        (0, 1)
    """

    _abbr_ = 'simam'

    def __init__(
        self, in_channels: int, e_lambda: float = 1e-4, start: str = 'paper', init_cfg: dict | None = None
    ):
        super().__init__(in_channels, start, init_cfg)
        check_number(self, 'e_lambda', e_lambda, positive=True)
        self.e_lambda = e_lambda
        self.weight = nn.Parameter(torch.empty(1)) if start == 'identity' else None
        self.reset_start()

    def gates(self, x: Tensor) -> dict[str, Tensor]:
        with ops.full_precision(x):
            squared = (x.to(ops.accurate_dtype(x)) - ops.spatial_avg(x)).square()
            variance = squared.sum((2, 3), keepdim=True) / ops.degrees_of_freedom(x)
            z = squared / (4 * (variance + self.e_lambda)) + 0.5
            return {'element': ops.sigmoid_gate(z if self.weight is None else self.weight * z, self.ceiling)}

    def channel_axes(self) -> dict[str, tuple[int, ...]]:
        return {}

    def reset_parameters(self) -> None:
        if self.weight is not None:
            nn.init.ones_(self.weight)

    def last_parameters(self) -> list[nn.Parameter]:
        return [self.weight]
