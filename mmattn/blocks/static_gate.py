"""A learned gate per channel that does not see the map: the control of a study for adaptivity."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmattn import ops
from mmattn.blocks.base import AttentionBlock
from mmattn.registry import MODELS


@MODELS.register_module()
class StaticGate(AttentionBlock):
    """Static gate: a learned gate per channel that does not see the map, as a control.

    ``x * 2 * sigmoid(z)`` with one parameter ``z`` per channel, zero at the start. A block that is no better
    than this gains nothing from adapting to the image.

    Paper: `Touvron et al., ICCV 2021 <https://arxiv.org/abs/2103.17239>`_ (LayerScale).

    Official code: facebookresearch/deit, ``cait_models.py``, where the scale is a parameter ``gamma``.

    Differences: the scale starts at 1, not near 0, and is ``2 * sigmoid(z)``, bounded to (0, 2), where
    LayerScale's is free. It is the gate of an :class:`~mmattn.blocks.SE` that starts as the identity, with
    nothing left of its last layer but the bias. So a study compares gates that differ in seeing the map, and
    in nothing else: range, first gradient, and weight decay, which pulls them to 1, are the same. A free
    scale would mix that with the question whether a bound helps. Both values of ``start`` mean the same.
    There is no scale per position: images differ in size.

    Args:
        in_channels: Number of channels of the map.
        start: See :class:`~mmattn.blocks.base.AttentionBlock`.

    Shape:
        - Input and output: ``(N, C, H, W)``.
        - Gate ``'channel'``: ``(N, C, 1, 1)``, the same for all images.

    Example:
        >>> import torch
        >>> from mmattn.blocks import StaticGate
        >>> x = torch.rand(2, 64, 7, 5)
        >>> StaticGate(64)(x).equal(x)
        True
        >>> StaticGate(64).gates(x)['channel'].shape
        torch.Size([2, 64, 1, 1])
    """

    _abbr_ = 'static_gate'
    paper_is_identity = True
    ceiling = 2.0
    supports_lazy_map = True

    def __init__(self, in_channels: int, start: str = 'paper', init_cfg: dict | None = None):
        super().__init__(in_channels, start, init_cfg)
        self.z = nn.Parameter(torch.empty(1, in_channels, 1, 1))
        self.reset_start()

    def gates(self, x: ops.FeatureMap) -> dict[str, Tensor]:
        with ops.full_precision(x):
            return {'channel': ops.sigmoid_gate(self.z, self.ceiling).repeat(x.shape[0], 1, 1, 1)}

    def channel_axes(self) -> dict[str, tuple[int, ...]]:
        return {'z': (1,)}

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.z)

    def last_parameters(self) -> list[nn.Parameter]:
        return [self.z]
