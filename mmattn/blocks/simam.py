"""A simple, parameter-free attention module."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmattn import ops
from mmattn.blocks.base import AttentionBlock
from mmattn.registry import MODELS


@MODELS.register_module()
class SimAM(AttentionBlock):
    """SimAM: a gate per element from its distance to its channel's mean, without parameters.

    ``x * sigmoid(d^2 / (4 * (v + e_lambda)) + 1/2)`` with ``d = x - mean(x)`` and ``v`` the variance of each
    channel's map, `Yang et al., ICML 2021 <https://proceedings.mlr.press/v139/yang21o.html>`_.
    Official code: ZjjConan/SimAM, ``networks/attentions/simam_module.py``. The gate is never below
    ``sigmoid(1/2)``, about 0.62, and has nothing that could be learned.

    Differences: a map of one element, where the variance is 0/0, has variance 0; ``start='identity'`` is
    ours. It adds the one parameter ``weight``, zero at first: ``2 * sigmoid(weight * z)`` for the ``z``
    above, so that training decides how much of this attention there is, or of its opposite.

    Args:
        in_channels: Channels of the map.
        e_lambda: The paper's lambda.
        start: See :class:`~mmattn.blocks.base.AttentionBlock`; ``'paper'`` has no parameters.

    Shape:
        - Input and output: ``(N, C, H, W)``; gate ``'element'``: ``(N, C, H, W)``.

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

    def __init__(self, in_channels: int, e_lambda: float = 1e-4, start: str = 'paper', init_cfg=None):
        super().__init__(in_channels, start, init_cfg)
        if not e_lambda > 0:
            raise ValueError(f'SimAM: e_lambda={e_lambda!r}; it must be positive')
        self.e_lambda = e_lambda
        self.weight = nn.Parameter(torch.empty(1)) if start == 'identity' else None
        self.reset_start()

    def gates(self, x: Tensor) -> dict[str, Tensor]:
        with ops.full_precision(x):
            distance = (x.to(ops.accurate_dtype(x)) - ops.spatial_avg(x)).square()
            count = torch.sym_max(x.shape[2] * x.shape[3] - 1, 1)
            variance = distance.sum((2, 3), keepdim=True) / count
            z = distance / (4 * (variance + self.e_lambda)) + 0.5
            return {'element': ops.sigmoid_gate(z if self.weight is None else self.weight * z, self.ceiling)}

    def reset_parameters(self) -> None:
        if self.weight is not None:
            nn.init.ones_(self.weight)

    def last_parameters(self):
        return [self.weight]
