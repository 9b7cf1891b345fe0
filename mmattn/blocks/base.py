"""The contract that every block keeps."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmattn import ops
from mmattn._private_apis import has_hooks, overrides
from mmattn.blocks._checks import check_choice, check_positive_int
from mmattn.blocks._frozen_start import first_values, is_frozen_at, warn_frozen_at_start

STARTS = ('paper', 'identity')
GATES_EXAMPLE = "return {'channel': ops.sigmoid_gate(z, self.ceiling)}  # z: (N, C, 1, 1)"
"""The last line of a block's ``gates``, to show in error messages."""


class AttentionBlock(BaseModule):
    """A module that computes gates from a map and multiplies the map by them.

    A subclass sets ``_abbr_`` (the name under which MMDetection's ``plugins=`` registers it), builds its
    layers, and defines :meth:`gates`, :meth:`reset_parameters` and :meth:`last_layers`. A block whose gates
    come from other blocks leaves :meth:`last_layers` to them. A block without gates sets ``role`` and
    defines ``forward`` instead of :meth:`gates`.

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
    """``'gate'``: the output is the input multiplied by :meth:`gates`; ``'additive'``: the block adds to
    the input or changes it in another way; ``'convolution'``: the block replaces a convolution."""
    paper_is_identity = False
    """True if the published initial values leave the map unchanged too."""
    floor = 0.0
    """The lower end of the gate's range."""
    supports_lazy_map = False
    """Set True if :meth:`gates` touches its map only through ``mmattn.ops`` (and shape, dtype, device): it
    then gets a lazy map. The attribute holds for the class that defines :meth:`gates`, not for subclasses
    that redefine it."""
    lazy_from = 0, 0
    """Elements of a fp32 map from which a lazy map is faster than plain PyTorch on a CPU, without and with
    gradients, as benchmarks/small_maps.py measures. Smaller maps are left to plain PyTorch, unless a backend
    is asked for by name."""

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
        """Return the gates for ``x`` in the order of their application.

        The key names what each gate applies to: ``'channel'`` ``(N, C, 1, 1)``, ``'spatial'``
        ``(N, 1, H, W)``, ``'height'`` ``(N, C, H, 1)``, ``'width'`` ``(N, C, 1, W)``, ``'frame'``
        ``(N, 1, 1, 1)``, ``'group'`` ``(N, G, H, W)`` for ``G`` groups of successive channels, or
        ``'element'`` ``(N, C, H, W)``.
        """
        raise TypeError(
            f'{type(self).__name__} lacks gates(). Write in the class:\n'
            '    def gates(self, x):\n'
            f'        {GATES_EXAMPLE}\n'
            "or, for a block without gates, role = 'additive' and a forward(self, x) of its own"
        )

    def takes_lazy_map(self) -> bool:
        """True if :meth:`gates` can be given a lazy map."""
        return self.supports_lazy_map

    def lazy_map(self, x: Tensor) -> ops.FeatureMap:
        """Return ``x`` as :meth:`gates` takes it: a lazy map if it can be, and is faster."""
        least = self.lazy_from[torch.is_grad_enabled()]
        return ops.lazy(x, least) if self.takes_lazy_map() else x

    def forward(self, x: Tensor) -> Tensor:
        return ops.materialize(self.apply_gates(self.lazy_map(x)))

    def only_applies_gates(self) -> bool:
        """True if calling the block does no more than multiply by :meth:`gates`, so that these may stand in
        for it."""
        own = type(self).forward is AttentionBlock.forward and 'forward' not in vars(self)
        return own and not has_hooks(self)

    def apply_gates(self, x: ops.FeatureMap) -> ops.FeatureMap:
        """Apply the gates; those of a lazy map stay pending."""
        gates = self.gates(x)
        if not isinstance(gates, dict):
            raise TypeError(
                f'{type(self).__name__}.gates() returns {_kind(gates)}, but has to return a dict that names '
                f'what each gate applies to: {GATES_EXAMPLE}'
            )
        for gate in gates.values():
            x = ops.apply_gate(x, gate)
        return x

    def reset_parameters(self) -> None:
        """Give every parameter its published initial value."""
        raise TypeError(
            f'{type(self).__name__} lacks reset_parameters(), which gives every parameter its initial value. '
            'Write in the class, for its own layers:\n'
            '    def reset_parameters(self):\n'
            '        self.fc.reset_parameters()\n'
            'or only `pass` if it has no parameters'
        )

    def last_layers(self) -> Iterable[nn.Module]:
        """The layers (or their norms) whose weight and bias at zero make ``z`` zero."""
        return ()

    def last_parameters(self) -> Iterable[nn.Parameter]:
        """The parameters that at zero make ``z`` zero: those of :meth:`last_layers`."""
        return [p for layer in self.last_layers() for p in (layer.weight, layer.bias) if p is not None]

    def channel_axes(self) -> dict[str, tuple[int, ...]]:
        """Return the axes of parameters and buffers that run over the map's channels, by their names.

        Pruning needs them: channels that a map loses are taken out of these axes.

        Raises:
            ValueError: The block cannot lose channels of its map; the text says why.
        """
        raise ValueError(
            f'{type(self).__name__} does not say by channel_axes() which axes of its parameters run over '
            'channels'
        )

    def forget_start(self) -> None:
        """Forget the values that the block started with, as they are those of other parameters."""
        self._at_start = None

    def reset_start(self) -> None:
        """Give every parameter its value before training, as ``start`` says. Ends each constructor."""
        self.reset_parameters()
        if self.start == 'identity':
            self._require_last_parameters()
            for parameter in self.last_parameters():
                nn.init.zeros_(parameter)
        elif not self.paper_is_identity:
            self._at_start = first_values(self)
        for block in self.modules():  # this one warns for the blocks inside it
            if block is not self and isinstance(block, AttentionBlock):
                block._at_start = None

    def _require_last_parameters(self) -> None:
        """Raise ``TypeError`` if the block says nowhere what has to be zero for it to be the identity."""
        cls = type(self)
        silent = (
            cls.last_parameters is AttentionBlock.last_parameters
            and cls.last_layers is AttentionBlock.last_layers
        )
        inner = any(isinstance(each, AttentionBlock) for each in self.modules() if each is not self)
        if silent and not inner and self.role == 'gate' and not self.paper_is_identity:
            raise TypeError(
                f"{cls.__name__} lacks last_parameters(), without which it cannot have start='identity'. "
                'Write in the class which parameters make the argument of its gate zero if they are zero:\n'
                '    def last_parameters(self):\n'
                '        return [self.fc.weight, self.fc.bias]'
            )

    def init_weights(self) -> None:
        """Reset the start when MMEngine initialises the model.

        By then a parent's ``init_cfg`` (ResNet's Kaiming, FPN's Xavier) has changed every convolution below
        it, including those of this block.
        """
        self.reset_start()
        self.is_init = True

    def train(self, mode: bool = True):
        """Set the mode; warn if the block is frozen with random gates.

        It is too early to tell in the constructor or in ``init_weights()``: a stage is frozen before its
        weights are loaded.
        """
        if mode and self._at_start is not None and is_frozen_at(self, self._at_start):
            self._at_start = None  # once
            warn_frozen_at_start()
        return super().train(mode)

    @overrides(nn.Module)
    def _load_from_state_dict(self, state_dict, prefix, *args, **kwargs):
        if any(key.startswith(prefix) for key in state_dict):
            self._at_start = None
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def extra_repr(self) -> str:
        return f'in_channels={self.in_channels}, start={self.start!r}'


def _kind(value: object) -> str:
    return 'a tensor' if isinstance(value, Tensor) else f'a {type(value).__name__}'
