"""The contract that every block keeps."""

from __future__ import annotations

import difflib
import inspect
import logging
import math
from collections.abc import Iterable
from numbers import Integral

from mmengine.logging import print_log
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmattn import ops

STARTS = ('paper', 'identity')

# The same words for every block, so that MMEngine's filter of repeated warnings prints them once.
_FROZEN_AT_START = (
    "attention is frozen before it was trained: a block with start='paper' has frozen parameters only, and "
    'no checkpoint gave it weights, so its gates stay random and the features behind it scaled down. With '
    "MMDetection's plugins=, frozen_stages freezes the blocks of its stages too. Insert them with "
    'mmattn.WithAttention, whose attention trains in frozen stages (unless freeze_with_host=True); or leave '
    'those stages out, as stages=(False, True, True, True) does; or set frozen_stages=0, which freezes the '
    "stem only; or write start='identity', which leaves the features as they are; or load a checkpoint that "
    'was trained with this attention.'
)


def check_choice(block: nn.Module, name: str, value, choices: tuple) -> None:
    """Raise ``ValueError`` unless ``value`` is one of ``choices``."""
    if value not in choices:
        raise ValueError(
            f'{type(block).__name__}: {name}={value!r}; possible: {", ".join(map(repr, choices))}'
        )


def check_positive_int(block: nn.Module, name: str, value, odd: bool = False) -> None:
    """Raise ``ValueError`` unless ``value`` is a positive (``odd``) integer."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1 or (odd and not value % 2):
        kind = 'an odd positive integer' if odd else 'a positive integer'
        raise ValueError(f'{type(block).__name__}: {name}={value!r}; it must be {kind}')


def check_options(cls: type, options: Iterable[str]) -> None:
    """Raise ``TypeError`` unless the block ``cls`` has these options, beside ``in_channels``."""
    known = [p for p in inspect.signature(cls).parameters if p not in ('in_channels', 'init_cfg')]
    for name in options:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            raise TypeError(
                f'{cls.__name__} has no option {name!r}'
                + (f'; did you mean {near[0]!r}?' if near else '.')
                + (' Channels are found at the site.' if name == 'in_channels' else '')
                + f' Its options: {", ".join(known)}'
            )


def channel_groups(block: AttentionBlock, name: str, groups: int | None, default: int) -> int:
    """``groups``, which must divide the block's channels; for ``None`` what of ``default`` divides them."""
    channels = block.in_channels
    if groups is None:
        return math.gcd(default, channels)
    check_positive_int(block, name, groups)
    if channels % groups:
        divisors = ', '.join(str(d) for d in range(1, channels + 1) if channels % d == 0)
        raise ValueError(
            f'{type(block).__name__}: {name}={groups!r}; it must divide '
            f'in_channels={channels}, as {divisors} do'
        )
    return groups


class AttentionBlock(BaseModule):
    """A module that multiplies a map by gates which it computes from that map.

    A subclass sets ``_abbr_`` (the name under which mmdet's ``plugins=`` registers it), builds its
    layers, and defines :meth:`gates`, :meth:`reset_parameters` and :meth:`last_layers`. Where the gates
    are computed by other blocks, those have the last layers. What is no gate sets ``role`` and defines
    ``forward`` in place of :meth:`gates`.

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
    role = 'gate'
    """``'gate'``: the output is the input multiplied by :meth:`gates`; ``'additive'``: something is added
    to it, or it is changed in some other way; ``'convolution'``: the block stands in place of one."""
    paper_is_identity = False
    """Whether the published initial values too leave the map as it is."""
    floor = 0.0
    """The lower end of the gate's range."""
    supports_lazy_map = False
    """Whether :meth:`gates` asks of its map only what ``mmattn.ops`` has, and shape, dtype and device: then the
    passes over the map are joined. For the class that defines :meth:`gates`, not for its subclasses."""

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if 'supports_lazy_map' not in vars(cls):
            definer = next(each for each in cls.__mro__ if 'gates' in vars(each))
            cls.supports_lazy_map = vars(definer).get('supports_lazy_map', False)

    def __init__(self, in_channels: int, start: str = 'paper', init_cfg=None):
        super().__init__()
        check_positive_int(self, 'in_channels', in_channels)
        check_choice(self, 'start', start, STARTS)
        if init_cfg is not None:
            raise ValueError(
                f'{type(self).__name__}: init_cfg={init_cfg!r}; a block initialises '
                "itself: say start='paper' or start='identity' instead"
            )
        self.in_channels = in_channels
        self.start = start
        self._at_start: list[Tensor] | None = None

    @property
    def ceiling(self) -> float:
        """The upper end of the gate's range: 1 as published, 2 when the block starts as identity."""
        return 2.0 if self.start == 'identity' else 1.0

    def gates(self, x: Tensor) -> dict[str, Tensor]:
        """The gates for ``x`` in the order of their application.

        A key says what has a gate of its own: ``'channel'`` ``(N, C, 1, 1)``, ``'spatial'``
        ``(N, 1, H, W)``, ``'height'`` ``(N, C, H, 1)``, ``'width'`` ``(N, C, 1, W)``, ``'frame'``
        ``(N, 1, 1, 1)``, ``'group'`` ``(N, G, H, W)`` for ``G`` groups of successive channels, or
        ``'element'`` ``(N, C, H, W)``.
        """
        raise NotImplementedError

    def lazy_map(self, x: Tensor) -> ops.FeatureMap:
        """``x`` as :meth:`gates` may have it: with ``supports_lazy_map`` as a map whose passes are joined."""
        return ops.lazy(x) if self.supports_lazy_map else x

    def forward(self, x: Tensor) -> Tensor:
        return self._gated(self.lazy_map(x))

    def _gated(self, x: ops.FeatureMap) -> Tensor:
        for gate in self.gates(x).values():
            x = ops.apply_gate(x, gate)
        return ops.materialize(x)

    def reset_parameters(self) -> None:
        """Give every parameter the initial value of the publication."""
        raise NotImplementedError

    def last_layers(self) -> Iterable[nn.Module]:
        """The layers (or their norms) whose weight and bias at zero make ``z`` zero."""
        return ()

    def last_parameters(self) -> Iterable[nn.Parameter]:
        """The parameters that at zero make ``z`` zero: those of :meth:`last_layers`."""
        return [p for layer in self.last_layers() for p in (layer.weight, layer.bias) if p is not None]

    def reset_start(self) -> None:
        """Give every parameter its value before training, as ``start`` says. Ends each constructor."""
        self.reset_parameters()
        if self.start == 'identity':
            for parameter in self.last_parameters():
                nn.init.zeros_(parameter)
        elif not self.paper_is_identity:
            self._at_start = [p.detach().flatten()[:8].clone() for p in self.parameters()]
        for block in self.modules():  # this one warns for the blocks inside it
            if block is not self and isinstance(block, AttentionBlock):
                block._at_start = None

    def init_weights(self) -> None:
        """The same again, when MMEngine initialises the model.

        By then the ``init_cfg`` of a parent (ResNet's Kaiming, FPN's Xavier) has been applied to
        every convolution below it, this block's included.
        """
        self.reset_start()
        self._is_init = True

    def train(self, mode: bool = True):
        """As ever; warns of random gates that will not be trained.

        Not earlier: a stage is frozen in its constructor, and weights are loaded after that. Nobody
        calls this for inference.
        """
        if mode and self._frozen_at_start():
            self._at_start = None  # once
            print_log(_FROZEN_AT_START, logger='current', level=logging.WARNING)
        return super().train(mode)

    def _frozen_at_start(self) -> bool:
        """Whether all parameters are frozen, and are those of :meth:`reset_parameters`.

        By their values, as there are more ways to get others than to load them: MMDetection's mean
        teacher, which is frozen by its constructor, copies its student.
        """
        parameters = list(self.parameters())
        if self._at_start is None or not parameters or any(p.requires_grad for p in parameters):
            return False
        # Neither meta nor fake tensors have values, nor has anything under a FakeTensorMode.
        return all(
            type(p) is Tensor and not p.is_meta and p.flatten()[:8].equal(start.to(p.device, p.dtype))
            for p, start in zip((p.detach() for p in parameters), self._at_start)
        )

    def _load_from_state_dict(self, state_dict, prefix, *args, **kwargs):
        if any(key.startswith(prefix) for key in state_dict):
            self._at_start = None
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def extra_repr(self) -> str:
        return f'in_channels={self.in_channels}, start={self.start!r}'
