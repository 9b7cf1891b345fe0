"""A block made of any module: timm's, torchvision's or your own."""

from __future__ import annotations

import importlib
import inspect
import math
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.registry import MODELS as ROOT_MODELS
from torch import Tensor, nn

from mmattn._private_apis import NEEDS_DATA, FakeTensorMode
from mmattn.blocks.base import AttentionBlock
from mmattn.blocks.clips import clips_set
from mmattn.blocks.eval_mode import in_eval_mode
from mmattn.registry import MODELS


@MODELS.register_module()
class External(AttentionBlock):
    """External module: any that keeps the shape of its input, timm's, torchvision's or your own.

    ``start='paper'`` uses the module as it is. ``start='identity'`` computes

    ``x * (1 - a) + module(x) * a``

    with a learned ``a`` per channel that starts at zero: at first the output equals the input, bit for bit,
    and training decides how much of the module to mix in. If the module has an option ``start``, as the
    blocks of this package have, it gets this one and nothing is mixed.

    Paper and official code are those of the module. The learned factor is ReZero's, `Bachlechner et al.,
    UAI 2021 <https://arxiv.org/abs/2003.04887>`_ (official code: majumderb/rezero).

    Differences: ReZero has one factor for all channels. Unlike with the other blocks, it depends on the
    module whether autocast, all map sizes, compilation and export work. Its gates, if any, are not visible.

    Args:
        in_channels: Number of channels of the map.
        module: Config of the module. ``type`` is a class, its path ``'package.module.Class'`` or a registered
            name; the other keys are its options. A value ``dict(of_channels=1/16)`` becomes this fraction
            of ``in_channels``, at least 1.
        channels: Name of the module's argument for the number of channels, or ``None`` if it has none.
        start: ``'paper'`` or ``'identity'``, see above.

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
        init_cfg: dict | None = None,
    ):
        super().__init__(in_channels, start, init_cfg)
        if not isinstance(module, Mapping) or not isinstance(module.get('type'), (str, type)):
            raise ValueError(
                "External: module must be a config with a type, such as dict(type='timm.layers.SEModule', "
                f'rd_ratio=1/16); got {module!r}'
            )
        if channels is not None and not isinstance(channels, str):
            raise ValueError(
                f"External: channels={channels!r}; it must be the name of the module's argument for the "
                'number of channels, or None'
            )
        self._module_class = module_class(module['type'])
        self._options = self._module_options(module, channels)
        self.module = self._module_class(**self._options)
        if start == 'identity' and 'start' not in self._options:
            self.mix = nn.Parameter(torch.zeros(1, in_channels, 1, 1))
        check_output(self.module, in_channels, f'External: {self._module_class.__name__}')
        self.reset_start()

    def _module_options(self, config: Mapping, channels: str | None) -> dict:
        """Return the arguments for the module's constructor.

        Raises:
            TypeError: The config names an unknown option, or a required one is missing.
        """
        name = self._module_class.__name__
        parameters = inspect.signature(self._module_class).parameters
        has_kwargs = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
        listed = ', '.join(parameters)
        options = {
            key: self._scaled(value) for key, value in config.items() if key not in ('type', '_scope_')
        }
        for option in options:
            if option not in parameters and not has_kwargs:
                raise TypeError(f'External: {name} has no option {option!r}. Its options: {listed}')
        if channels is not None:
            if channels not in parameters and not has_kwargs:
                raise TypeError(
                    f'External: {name} has no argument {channels!r} for the number of channels. Give its '
                    f'name as channels=..., or channels=None if it has none. Its arguments: {listed}'
                )
            if channels in options:
                raise TypeError(
                    f'External: {channels!r} of {name} is the number of channels at the site; remove it from '
                    'module'
                )
            options[channels] = self.in_channels
        if 'start' in parameters:
            options.setdefault('start', self.start)
        missing = [
            key
            for key, p in parameters.items()
            if p.default is p.empty
            and key not in options
            and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
        ]
        if missing:
            raise TypeError(
                f'External: {name} needs {", ".join(map(repr, missing))}. Give the name of the one for the '
                f'number of channels as channels=..., and the others in module. Its arguments: {listed}'
            )
        return options

    def _scaled(self, value: Any) -> Any:
        """Return ``value``, or for ``dict(of_channels=f)`` that fraction of the channels."""
        if not isinstance(value, Mapping) or set(value) != {'of_channels'}:
            return value
        fraction = value['of_channels']
        numeric = isinstance(fraction, (int, float)) and not isinstance(fraction, bool)
        if not numeric or not 0 < fraction < math.inf:
            raise ValueError(
                f'External: of_channels={fraction!r}; it must be a fraction of in_channels, such as 1/16'
            )
        return max(int(self.in_channels * fraction), 1)

    @property
    def paper_is_identity(self) -> bool:
        return getattr(self.module, 'paper_is_identity', False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.module(x)
        if hasattr(self, 'mix'):
            y = x * (1 - self.mix).to(x.dtype) + y.to(x.dtype) * self.mix.to(x.dtype)
        return y.to(x.dtype)

    def channel_axes(self) -> dict[str, tuple[int, ...]]:
        raise ValueError(
            f'{self._module_class.__name__} of another package does not say where its channels are'
        )

    def reset_parameters(self) -> None:
        # A parent's init_cfg may have overwritten the module's initial values; a new module has them.
        fresh = self._module_class(**self._options)
        if hasattr(fresh, 'init_weights'):
            fresh.init_weights()
        self.module.load_state_dict(fresh.state_dict())

    def last_parameters(self) -> list[nn.Parameter]:
        return [self.mix] if hasattr(self, 'mix') else []

    def extra_repr(self) -> str:
        return f'in_channels={self.in_channels}, module={self._module_class.__name__}, start={self.start!r}'


def module_class(name: str | type) -> type[nn.Module]:
    """Return the module class with this registered name or import path.

    Raises:
        ValueError: There is no such class, or it is not a subclass of ``torch.nn.Module``.
    """
    cls: Any = name
    if isinstance(name, str):
        cls = ROOT_MODELS.get(name)  # also tries to import it, but hides the reason of a failure
        if cls is None:
            package, _, attribute = name.rpartition('.')
            try:
                cls = getattr(importlib.import_module(package), attribute)
            except (ImportError, AttributeError, ValueError) as error:
                raise ValueError(
                    f'External: {name!r} is not registered and cannot be imported: '
                    f'{type(error).__name__}: {error}'
                ) from error
    if not inspect.isclass(cls) or not issubclass(cls, nn.Module):
        raise ValueError(f'External: {name!r} is {cls!r}, which is not a subclass of torch.nn.Module')
    return cls


def check_output(module: nn.Module, channels: int, what: str) -> None:
    """Raise ``ValueError`` unless ``module`` maps ``(N, channels, H, W)`` to the same shape.

    Runs the module once on fake tensors and leaves it as it was.

    Args:
        module: The module to check.
        channels: Number of channels of its input.
        what: Name of the module in the error message.
    """
    shape = (2, channels, 32, 48)
    like = next((p for p in module.parameters() if p.is_floating_point()), torch.zeros(()))
    try:
        with (
            in_eval_mode(module),
            FakeTensorMode(allow_non_fake_inputs=True),
            torch.no_grad(),
            torch.random.fork_rng(devices=[]),
            clips_set(module, (2, 1)),
        ):
            out = module(torch.empty(shape, device=like.device, dtype=like.dtype))
    except NEEDS_DATA:  # it depends on the values of its input, and is not checked
        return
    except Exception as error:  # a forward may raise anything
        text = f'{type(error).__name__}: {error}'
        raise ValueError(f'{what} cannot be run on a map of shape {shape}: {text}') from error
    if not isinstance(out, Tensor):
        raise ValueError(
            f'{what} returns a {type(out).__name__} for a map of shape {shape}; a block must return one map'
        )
    if out.shape != shape:
        raise ValueError(
            f'{what} returns the shape {tuple(out.shape)} for a map of shape {shape}; '
            'a block must keep the shape'
        )
