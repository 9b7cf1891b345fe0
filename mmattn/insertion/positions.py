"""Put a block on its host, at any position, and take it off again.

A host only *refers* to its block: the block's parameters live in ``model.attention``, so the host's
own parameters keep their names. References are ordinary attributes, not closures, so that ``deepcopy``
gives the copied host the copied block.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn

from mmattn import _compat
from mmattn._private_apis import forward_hooks, forward_pre_hooks, remove_hooks
from mmattn.insertion.site import ELEMENT, INPUT, OUTPUT, RESIDUAL, Site
from mmattn.insertion.traced_host import is_traced_host, put_hook, take_hook, was_traced_host

_resnet = _compat.optional('mmattn.insertion.resnet_positions')


class Position(Protocol):
    """Puts a block on a host, and takes it off."""

    def put(self, host: nn.Module, block: nn.Module, site: str) -> None:
        """Make ``host`` call ``block``; ``site`` is its name in error messages."""

    def take(self, host: nn.Module) -> None:
        """Undo :meth:`put`."""


def _require_map(value, host: nn.Module, site: str, verb: str) -> None:
    if not isinstance(value, Tensor) or value.dim() != 4:
        found = (
            f'a tensor of shape {tuple(value.shape)}'
            if isinstance(value, Tensor)
            else f'a {type(value).__name__}'
        )
        raise TypeError(
            f"attention at '{site}': {type(host).__name__} {verb} {found}, not "
            'one map (N, C, H, W); choose a module whose output is one'
        )


class _AfterOutput:
    """A forward hook that returns ``block(output)``."""

    def __init__(self, block: nn.Module, site: str):
        self.block = block
        self.site = site

    def __call__(self, host, inputs, output):
        _require_map(output, host, self.site, 'returned')
        return self.block(output)


class _AfterElement(_AfterOutput):
    """A forward hook that passes one map of a tuple or list through the block."""

    def __init__(self, block: nn.Module, site: str, index: int):
        super().__init__(block, site)
        self.index = index
        self._verb = f'returned, as number {index},'  # not in the call: torch.compile cannot write it

    def __call__(self, host, inputs, output):
        if not isinstance(output, (list, tuple)) or len(output) <= self.index:
            raise TypeError(
                f"attention at '{self.site}': {type(host).__name__} returned no map number "
                f'{self.index}, but a {type(output).__name__}'
            )
        _require_map(output[self.index], host, self.site, self._verb)
        maps = list(output)
        maps[self.index] = self.block(maps[self.index])
        if hasattr(output, '_fields'):  # a named tuple
            return type(output)(*maps)
        return maps if isinstance(output, list) else tuple(maps)


class _BeforeInput:
    """A forward pre-hook that passes the first input through the block."""

    def __init__(self, block: nn.Module, site: str):
        self.block = block
        self.site = site

    def __call__(self, host, inputs):
        _require_map(inputs[0] if inputs else None, host, self.site, 'was given')
        return self.block(inputs[0]), *inputs[1:]


class OutputPosition:
    """A module with one map as its output: the block follows it, as a forward hook."""

    def put(self, host: nn.Module, block: nn.Module, site: str) -> None:
        host.register_forward_hook(_AfterOutput(block, site))

    def take(self, host: nn.Module) -> None:
        remove_hooks(host, _AfterOutput)


@dataclass(frozen=True)
class ElementPosition:
    """A module that returns several maps: the block follows one of them."""

    index: int

    def put(self, host: nn.Module, block: nn.Module, site: str) -> None:
        host.register_forward_hook(_AfterElement(block, site, self.index))

    def take(self, host: nn.Module) -> None:
        remove_hooks(host, _AfterElement)


class InputPosition:
    """A module whose first input is a map: the block comes before it."""

    def put(self, host: nn.Module, block: nn.Module, site: str) -> None:
        host.register_forward_pre_hook(_BeforeInput(block, site))

    def take(self, host: nn.Module) -> None:
        remove_hooks(host, _BeforeInput)


@dataclass(frozen=True)
class EndPosition:
    """A residual block of any class: the block follows the child that ends its branch."""

    end: str

    def put(self, host: nn.Module, block: nn.Module, site: str) -> None:
        put_hook(host, self.end, _AfterOutput(block, site))

    def take(self, host: nn.Module) -> None:
        take_hook(host)


def has_block(module: nn.Module) -> bool:
    """Return True if a block has been put on ``module``, at any position."""
    hooks = [*forward_hooks(module).values(), *forward_pre_hooks(module).values()]
    return (_resnet is not None and _resnet.ends_with_block(module)) or any(
        isinstance(hook, (_AfterOutput, _BeforeInput)) for hook in hooks
    )


@contextmanager
def blocks_last(model: nn.Module) -> Iterator[None]:
    """Call blocks on outputs after all other forward hooks, which then see what the host itself returns."""
    before = {}
    for module in model.modules():
        hooks = forward_hooks(module)
        ours = [key for key, hook in hooks.items() if isinstance(hook, _AfterOutput)]
        if ours:
            before[module] = list(hooks)
            _reorder(hooks, [*(key for key in hooks if key not in ours), *ours])
    try:
        yield
    finally:
        for module, keys in before.items():
            hooks = forward_hooks(module)
            _reorder(hooks, [key for key in keys if key in hooks])


def _reorder(hooks: dict, keys: Sequence[int]) -> None:
    for key in keys:
        hooks[key] = hooks.pop(key)


_POSITIONS = {
    OUTPUT: lambda module, site: OutputPosition(),
    INPUT: lambda module, site: InputPosition(),
    ELEMENT: lambda module, site: ElementPosition(site.index),
    RESIDUAL: lambda module, site: (
        residual_position(module) if site.end is None else _end_position(module, site.end)
    ),
}


def host_of(model: nn.Module, site: Site) -> tuple[nn.Module, Position | None]:
    """Return the host of ``site`` in ``model``, and what puts a block on it and takes it off.

    The latter is ``None`` if the class of a residual block has been changed since the site was found.
    """
    module = model.get_submodule(site.path)
    return module, _POSITIONS[site.position](module, site)


def residual_position(module: nn.Module) -> Any | None:
    """Return what puts a block on the residual branch of ``module``, or ``None`` if nothing can."""
    positions = _resnet.RESIDUAL_POSITIONS if _resnet is not None else ()
    return next((each for each in positions if each.fits(module)), None)


def _end_position(module: nn.Module, end: str) -> EndPosition | None:
    return EndPosition(end) if is_traced_host(module) or not was_traced_host(module) else None


def tail_summary(model: nn.Module) -> str:
    """Return how the tails of residual blocks are computed; empty if none has attention."""
    return _resnet.tail_summary(model) if _resnet is not None else ''
