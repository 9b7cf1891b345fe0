"""How a block is put on the output of a module, and taken off again.

A host only *refers* to its block: the block's parameters live in ``model.attention``, so the host's
own keep their names. Each class here knows one kind of host. References are ordinary attributes, not
closures, so that ``deepcopy`` gives the copied host the copied block.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

try:
    from mmattn.insertion.resnet_hosts import RESIDUAL_HOSTS, ends_with_block
except ModuleNotFoundError as error:
    if error.name.split('.')[0] not in ('mmdet', 'mmcv'):
        raise
    RESIDUAL_HOSTS = ()  # no mmdet, none of its blocks

    def ends_with_block(module):
        return False


OUTPUT, INPUT, ELEMENT, RESIDUAL = 'output', 'input', 'element', 'residual'
"""Doors: a block follows a module, precedes it, follows one map of its tuple, or ends a residual branch."""
_NORMS = (_BatchNorm, _InstanceNorm, nn.GroupNorm, nn.LayerNorm)


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
    """A forward hook that puts the block behind one map of a tuple or list."""

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
    """A forward pre-hook that puts the block before the first input."""

    def __init__(self, block: nn.Module, site: str):
        self.block = block
        self.site = site

    def __call__(self, host, inputs):
        _require_map(inputs[0] if inputs else None, host, self.site, 'was given')
        return self.block(inputs[0]), *inputs[1:]


class OutputHost:
    """A module with one map as its output: the block follows it, as a forward hook."""

    @staticmethod
    def put(host: nn.Module, block: nn.Module, site: str) -> None:
        host.register_forward_hook(_AfterOutput(block, site))

    @staticmethod
    def take(host: nn.Module) -> None:
        _drop(host._forward_hooks, _AfterOutput)


@dataclass(frozen=True)
class ElementHost:
    """A module that returns several maps: the block follows one of them."""

    index: int

    def put(self, host: nn.Module, block: nn.Module, site: str) -> None:
        host.register_forward_hook(_AfterElement(block, site, self.index))

    def take(self, host: nn.Module) -> None:
        _drop(host._forward_hooks, _AfterElement)


class InputHost:
    """A module whose first input is a map: the block comes before it."""

    @staticmethod
    def put(host: nn.Module, block: nn.Module, site: str) -> None:
        host.register_forward_pre_hook(_BeforeInput(block, site))

    @staticmethod
    def take(host: nn.Module) -> None:
        _drop(host._forward_pre_hooks, _BeforeInput)


def _drop(hooks, kind: type) -> None:
    for key, hook in list(hooks.items()):
        if isinstance(hook, kind):
            del hooks[key]


def holds_block(module: nn.Module) -> bool:
    """Whether a block has been put on ``module``, through any door."""
    hooks = [*module._forward_hooks.values(), *module._forward_pre_hooks.values()]
    return ends_with_block(module) or any(isinstance(hook, (_AfterOutput, _BeforeInput)) for hook in hooks)


def host_class(module: nn.Module, door: str, index: int | None):
    """What puts a block on ``module`` through ``door``, and takes it off."""
    if door == RESIDUAL:
        return residual_host(module)
    return ElementHost(index) if door == ELEMENT else {OUTPUT: OutputHost, INPUT: InputHost}[door]


def residual_host(module: nn.Module):
    """The class that puts a block on the residual branch of ``module``, or ``None``."""
    return next((host for host in RESIDUAL_HOSTS if host.fits(module)), None)


def conv_channels(module: nn.Module) -> int | None:
    """Output channels of a 2-d convolution, or a module around one such as mmcv's ConvModule."""
    # A neck or a RoI extractor has out_channels too, but does not return one map: what counts is
    # the four-dimensional weight.
    conv = getattr(module, 'conv', module)
    weight = getattr(conv, 'weight', None)
    if isinstance(weight, nn.Parameter) and weight.dim() == 4:
        return getattr(module, 'out_channels', None)
    return None


def output_channels(module: nn.Module) -> int | None:
    """Channels of a module's output by its attributes; ``None`` where they do not tell."""
    residual = residual_host(module)
    if residual is not None:
        return residual.channels(module)
    if isinstance(module, nn.Sequential):
        return output_channels(module[-1]) if len(module) else None
    return conv_channels(module)


def why_no_host(module: nn.Module, parent: nn.Module) -> str | None:
    """Why no block may follow ``module``, a child of ``parent``, whatever its output; ``None`` if one may."""
    if isinstance(module, _NORMS):
        return (
            'a norm is replaced by SyncBN conversion and by conv-bn fusion, and attention on it would be lost'
        )
    if isinstance(module, nn.modules.conv._ConvNd) and any(
        isinstance(child, _BatchNorm) for child in parent.children()
    ):
        return (
            'a batch norm stands beside this convolution, and conv-bn fusion would fold it in '
            'before the attention'
        )
    return None
