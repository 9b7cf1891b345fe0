"""The contract that every block keeps."""
from __future__ import annotations

from collections.abc import Iterable
from numbers import Integral

from mmengine.model import BaseModule
from torch import Tensor, nn

from mmattn import ops

STARTS = ('paper', 'identity')


def check_choice(block: nn.Module, name: str, value, choices: tuple) -> None:
    """Raise ``ValueError`` unless ``value`` is one of ``choices``."""
    if value not in choices:
        raise ValueError(f'{type(block).__name__}: {name}={value!r}; '
                         f'possible: {", ".join(map(repr, choices))}')


def check_positive_int(block: nn.Module, name: str, value, odd: bool = False) -> None:
    """Raise ``ValueError`` unless ``value`` is a positive (``odd``) integer."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1 or (odd and not value % 2):
        kind = 'an odd positive integer' if odd else 'a positive integer'
        raise ValueError(f'{type(block).__name__}: {name}={value!r}; it must be {kind}')


class AttentionBlock(BaseModule):
    """A module that multiplies a map by gates which it computes from that map.

    A subclass sets ``_abbr_`` (the name under which mmdet's ``plugins=`` registers it), builds its
    layers, and defines :meth:`gates`, :meth:`reset_parameters` and :meth:`last_layers`.

    Args:
        in_channels: Channels of the map.
        start: What a new block does before training. ``'paper'``: as published. ``'identity'``: its
            output equals its input, bit for bit, and gradients reach all its parameters after at
            most one step. The gate is then ``2 * sigmoid(z)``, which is 1 at ``z = 0`` and ranges
            over (0, 2), and the layers that produce ``z`` start at zero.
        init_cfg: Accepted because MMEngine passes it; must be ``None``, as ``start`` decides.

    Shape:
        - Input: ``(N, C, H, W)``, any ``N >= 0`` and ``H, W >= 1``, any floating dtype.
        - Output: same shape, dtype and memory format.
    """
    _abbr_: str
    is_gate = True
    """Whether the output is the input multiplied by gates (not an addition, nor a convolution)."""

    def __init__(self, in_channels: int, start: str = 'paper', init_cfg=None):
        super().__init__()
        check_positive_int(self, 'in_channels', in_channels)
        check_choice(self, 'start', start, STARTS)
        if init_cfg is not None:
            raise ValueError(f'{type(self).__name__}: init_cfg={init_cfg!r}; a block initialises '
                             "itself: say start='paper' or start='identity' instead")
        self.in_channels = in_channels
        self.start = start

    @property
    def ceiling(self) -> float:
        """The upper end of the gate's range: 1 as published, 2 when the block starts as identity."""
        return 2. if self.start == 'identity' else 1.

    def gates(self, x: Tensor) -> dict[str, Tensor]:
        """The gates for ``x`` in the order of their application.

        Keys are ``'channel'`` for ``(N, C, 1, 1)`` and ``'spatial'`` for ``(N, 1, H, W)``.
        """
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        for gate in self.gates(x).values():
            x = ops.apply_gate(x, gate)
        return x

    def reset_parameters(self) -> None:
        """Give every parameter the initial value of the publication."""
        raise NotImplementedError

    def last_layers(self) -> Iterable[nn.Module]:
        """The layers (or their norms) whose weight and bias at zero make ``z`` zero."""
        raise NotImplementedError

    def reset_start(self) -> None:
        """Give every parameter its value before training, as ``start`` says. Ends each constructor."""
        self.reset_parameters()
        if self.start == 'identity':
            for layer in self.last_layers():
                nn.init.zeros_(layer.weight)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def init_weights(self) -> None:
        """The same again, when MMEngine initialises the model.

        By then the ``init_cfg`` of a parent (ResNet's Kaiming, FPN's Xavier) has been applied to
        every convolution below it, this block's included.
        """
        self.reset_start()
        self._is_init = True

    def extra_repr(self) -> str:
        return f'in_channels={self.in_channels}, start={self.start!r}'
