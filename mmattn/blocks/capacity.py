"""A bottleneck of 1x1 convolutions beside the map: the control of a study for capacity."""

from __future__ import annotations

from torch import Tensor, nn

from mmattn import ops
from mmattn.blocks._checks import check_positive_int
from mmattn.blocks.base import AttentionBlock
from mmattn.registry import MODELS


@MODELS.register_module()
class Capacity(AttentionBlock):
    """Capacity: adds a bottleneck of 1x1 convolutions, without any attention, as a control.

    ``x + W2 relu(W1 x)``. A block that is no better than this with as many parameters owes its gain to
    them, not to attention.

    Paper: `Houlsby et al., ICML 2019 <https://arxiv.org/abs/1902.00751>`_ (adapters).

    Official code: google-research/adapter-bert, ``modeling.py``, ``feedforward_adapter``, for tokens.

    Differences: the layers are 1x1 convolutions, the activation is ReLU and not GELU, and the last layer
    starts at zero, not near it. So the output equals the input at the start, and both values of ``start``
    mean the same.

    Args:
        in_channels: Number of channels of the map.
        hidden: Width of the bottleneck; ``in_channels // 16``, as in SE, by default. The block has
            :meth:`size` parameters.
        start: See :class:`~mmattn.blocks.base.AttentionBlock`.

    Shape:
        - Input and output: ``(N, C, H, W)``.

    Example:
        >>> import torch
        >>> from mmattn.blocks import SE, Capacity
        >>> x = torch.rand(2, 64, 7, 5)
        >>> Capacity(64)(x).equal(x)
        True
        >>> [sum(p.numel() for p in block.parameters()) for block in (SE(64), Capacity(64))]
        [580, 580]
    """

    _abbr_ = 'capacity'
    role = 'additive'
    paper_is_identity = True

    def __init__(
        self,
        in_channels: int,
        hidden: int | None = None,
        start: str = 'paper',
        init_cfg: dict | None = None,
    ):
        super().__init__(in_channels, start, init_cfg)
        hidden = max(in_channels // 16, 1) if hidden is None else hidden
        check_positive_int(self, 'hidden', hidden)
        self.fc1 = nn.Conv2d(in_channels, hidden, 1)
        self.relu = nn.ReLU(inplace=True)
        self.fc2 = nn.Conv2d(hidden, in_channels, 1)
        self.reset_start()

    @staticmethod
    def size(in_channels: int, hidden: int) -> int:
        """Return the number of parameters of a block."""
        return 2 * in_channels * hidden + hidden + in_channels

    def forward(self, x: Tensor) -> Tensor:
        with ops.full_precision(x):  # in fp16, large values of the map would overflow in the sum
            added = self.fc2(self.relu(self.fc1(x.to(self.fc1.weight.dtype))))
            return x + added.to(x.dtype)

    def channel_axes(self) -> dict[str, tuple[int, ...]]:
        return {'fc1.weight': (1,), 'fc2.weight': (0,), 'fc2.bias': (0,)}

    def reset_parameters(self) -> None:
        self.fc1.reset_parameters()
        nn.init.zeros_(self.fc2.weight)
        nn.init.zeros_(self.fc2.bias)

    def last_layers(self) -> list[nn.Module]:
        return [self.fc2]
