"""A module from elsewhere as a block."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping

import torch
from mmengine.registry import MODELS as ROOT_MODELS
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    UnsupportedFakeTensorException,
    UnsupportedOperatorException,
)

from mmattn.blocks.base import AttentionBlock
from mmattn.registry import MODELS

# What only data can tell: then nothing is known before the first forward pass.
_NOT_TO_BE_KNOWN = (
    DataDependentOutputException,
    DynamicOutputShapeException,
    UnsupportedFakeTensorException,
    UnsupportedOperatorException,
)


@MODELS.register_module()
class External(AttentionBlock):
    """External module: any with one map as its input and one like it as its output, timm's or your own.

    ``start='paper'``: the module as it is. ``start='identity'``: ``x * (1 - a) + module(x) * a``, where ``a``
    is learned, a number a channel, and starts at zero; the map stays what it is, bit for bit, and training
    decides how much of the module comes in. A module that has an option ``start`` of its own, as the
    blocks of this package, is given it, and nothing is mixed.

    Paper and code are the module's own (ReZero, `Bachlechner et al., UAI 2021
    <https://arxiv.org/abs/2003.04887>`_, starts a residual branch with such a factor, one for all
    channels; official code: majumderb/rezero). Differences: whether it is right under autocast, on maps of
    any size, compiled or exported, is up to the module; nothing is known of its gates.

    Args:
        in_channels: Channels of the map.
        module: Its config: ``type``, a class, its path as ``'package.module.Class'``, or a registered name;
            all else are its options. An option ``dict(of_channels=1/16)`` becomes this fraction of
            ``in_channels``, at least 1.
        channels: The name of the module's argument for ``in_channels``; ``None`` where it has none.
        start: See above.

    Shape:
        - Input and output: ``(N, C, H, W)``.

    Example:
        >>> import torch
        >>> from mmattn.blocks import External
        >>> norm = dict(type='torch.nn.GroupNorm', num_groups=8)
        >>> block = External(64, norm, channels='num_channels', start='identity')
        >>> x = torch.randn(2, 64, 7, 5)
        >>> block(x).equal(x), block.mix.shape
        (True, torch.Size([1, 64, 1, 1]))
    """

    _abbr_ = 'external'
    role = 'additive'

    def __init__(
        self,
        in_channels: int,
        module: Mapping,
        channels: str | None = 'in_channels',
        start: str = 'paper',
        init_cfg=None,
    ):
        super().__init__(in_channels, start, init_cfg)
        if not isinstance(module, Mapping) or not isinstance(module.get('type'), (str, type)):
            raise ValueError(
                "External: 'module' is a config with a type, such as dict(type='timm.layers."
                f"SEModule', rd_ratio=1/16); got {module!r}"
            )
        if channels is not None and not isinstance(channels, str):
            raise ValueError(
                f"External: channels={channels!r}; it is the name of the module's argument for "
                'in_channels, or None'
            )
        self._class = module_class(module['type'])
        self._options = self._checked(module, channels)
        self.module = self._class(**self._options)
        self._starts_itself = 'start' in self._options
        if start == 'identity' and not self._starts_itself:
            self.mix = nn.Parameter(torch.zeros(1, in_channels, 1, 1))
        check_output(self.module, in_channels, f'External: {self._class.__name__}')
        self.reset_start()

    def _checked(self, config: Mapping, channels: str | None) -> dict:
        """The options of the module, by name."""
        name = self._class.__name__
        known = inspect.signature(self._class).parameters
        takes_any = any(p.kind is p.VAR_KEYWORD for p in known.values())
        listed = ', '.join(known)
        options = {
            key: self._scaled(value) for key, value in config.items() if key not in ('type', '_scope_')
        }
        for option in options:
            if option not in known and not takes_any:
                raise TypeError(f'External: {name} has no option {option!r}. Its options: {listed}')
        if channels is not None:
            if channels not in known and not takes_any:
                raise TypeError(
                    f'External: {name} has no argument {channels!r} for the channels: name it in '
                    f"'channels', or write channels=None if it has none. Its arguments: {listed}"
                )
            if channels in options:
                raise TypeError(
                    f"External: {name}'s {channels!r} is found at the site; it must not be in 'module'"
                )
            options[channels] = self.in_channels
        if 'start' in known:
            options.setdefault('start', self.start)
        missing = [
            each
            for each, p in known.items()
            if p.default is p.empty
            and each not in options
            and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
        ]
        if missing:
            raise TypeError(
                f'External: {name} needs {", ".join(map(repr, missing))}: name the one for the '
                "channels in 'channels', and give the others in 'module'. Its arguments: "
                f'{listed}'
            )
        return options

    def _scaled(self, value):
        if isinstance(value, Mapping) and set(value) == {'of_channels'}:
            fraction = value['of_channels']
            if isinstance(fraction, bool) or not isinstance(fraction, (int, float)) or fraction <= 0:
                raise ValueError(
                    f'External: of_channels={fraction!r}; it is a fraction of in_channels, such as 1/16'
                )
            return max(int(self.in_channels * fraction), 1)
        return value

    @property
    def paper_is_identity(self) -> bool:
        return getattr(self.module, 'paper_is_identity', False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.module(x)
        if hasattr(self, 'mix'):
            y = x * (1 - self.mix).to(x.dtype) + y.to(x.dtype) * self.mix.to(x.dtype)
        return y.to(x.dtype)

    def reset_parameters(self) -> None:
        # The module knows its initial values, a parent's init_cfg has overwritten them: make another one.
        fresh = self._class(**self._options)
        if hasattr(fresh, 'init_weights'):
            fresh.init_weights()
        self.module.load_state_dict(fresh.state_dict())

    def last_parameters(self):
        return [self.mix] if hasattr(self, 'mix') else []

    def extra_repr(self) -> str:
        return f'in_channels={self.in_channels}, module={self._class.__name__}, start={self.start!r}'


def module_class(kind: str | type) -> type[nn.Module]:
    """The class of modules that ``kind`` names.

    Raises:
        ValueError: There is none, or it is no class of modules.
    """
    found = kind
    if isinstance(kind, str):
        found = ROOT_MODELS.get(kind)  # imports it as well, but does not say why that fails
        if found is None:
            package, _, name = kind.rpartition('.')
            try:
                found = getattr(importlib.import_module(package), name)
            except (ImportError, AttributeError, ValueError) as error:
                raise ValueError(
                    f'External: {kind!r} was found neither in a registry nor by import: '
                    f'{type(error).__name__}: {error}'
                ) from error
    if not inspect.isclass(found) or not issubclass(found, nn.Module):
        raise ValueError(f'External: {kind!r} is {found!r}, which is no class of torch.nn.Module')
    return found


def check_output(module: nn.Module, channels: int, what: str) -> None:
    """Raise ``ValueError`` unless ``module`` makes of a map one of the same shape.

    It is run on tensors without data, and left as it was.
    """
    training = {each: each.training for each in module.modules()}
    for each in training:
        each.training = False
    shape = (2, channels, 32, 48)
    like = next((p for p in module.parameters() if p.is_floating_point()), torch.zeros(()))
    try:
        with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad(), torch.random.fork_rng(devices=[]):
            out = module(torch.empty(shape, device=like.device, dtype=like.dtype))
    except _NOT_TO_BE_KNOWN:
        return
    except Exception as error:  # whatever its forward may raise
        text = f'{type(error).__name__}: {error}'
        raise ValueError(f'{what} cannot be run on one map, {shape}: {text}') from error
    finally:
        for each, mode in training.items():
            each.training = mode
    if not isinstance(out, Tensor):
        raise ValueError(f'{what} makes a {type(out).__name__} of one map, {shape}; a block returns one')
    if out.shape != shape:
        raise ValueError(f'{what} makes {tuple(out.shape)} of a map, {shape}; a block keeps the shape')
