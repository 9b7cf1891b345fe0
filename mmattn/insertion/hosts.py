"""How a block is put on the output of a module, and taken off again.

A host only *refers* to its block: the block's parameters live in ``model.attention``, so the host's
own keep their names. Each class here knows one kind of host. References are ordinary attributes, not
closures, so that ``deepcopy`` gives the copied host the copied block.
"""
from __future__ import annotations

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

try:
    from mmattn.insertion.resnet_hosts import RESIDUAL_HOSTS
except ModuleNotFoundError as error:
    if error.name.split('.')[0] not in ('mmdet', 'mmcv'):
        raise
    RESIDUAL_HOSTS = ()  # no mmdet, none of its blocks

_NORMS = (_BatchNorm, _InstanceNorm, nn.GroupNorm, nn.LayerNorm)


class _AfterOutput:
    """A forward hook that returns ``block(output)``."""

    def __init__(self, block: nn.Module, site: str):
        self.block = block
        self.site = site

    def __call__(self, host, inputs, output):
        if not isinstance(output, Tensor) or output.dim() != 4:
            found = (f'a tensor of shape {tuple(output.shape)}' if isinstance(output, Tensor)
                     else f'a {type(output).__name__}')
            raise TypeError(f"attention at '{self.site}': {type(host).__name__} returned {found}, not "
                            'one map (N, C, H, W); choose a module whose output is one')
        return self.block(output)


class OutputHost:
    """A module with one map as its output: the block follows it, as a forward hook."""
    kind = 'output'

    @staticmethod
    def put(host: nn.Module, block: nn.Module, site: str) -> None:
        host.register_forward_hook(_AfterOutput(block, site))

    @staticmethod
    def take(host: nn.Module) -> None:
        for key, hook in list(host._forward_hooks.items()):
            if isinstance(hook, _AfterOutput):
                del host._forward_hooks[key]


def residual_host(module: nn.Module):
    """The class that puts a block on the residual branch of ``module``, or ``None``."""
    return next((host for host in RESIDUAL_HOSTS if host.fits(module)), None)


def output_channels(module: nn.Module) -> int | None:
    """Channels of a module's output by its attributes; ``None`` where they do not tell."""
    residual = residual_host(module)
    if residual is not None:
        return residual.channels(module)
    if isinstance(module, nn.Sequential):
        return output_channels(module[-1]) if len(module) else None
    # A neck or a RoI extractor has out_channels too, but does not return one map: what counts is
    # the four-dimensional weight of a 2-d convolution, as in mmcv's ConvModule and DCN.
    conv = getattr(module, 'conv', module)
    weight = getattr(conv, 'weight', None)
    if isinstance(weight, nn.Parameter) and weight.dim() == 4:
        return getattr(module, 'out_channels', None)
    return None


def why_no_host(module: nn.Module, parent: nn.Module) -> str | None:
    """Why ``module``, a child of ``parent``, cannot be an :class:`OutputHost`; ``None`` if it can."""
    if isinstance(module, _NORMS):
        return ('a norm is replaced by SyncBN conversion and by conv-bn fusion, and attention on it '
                'would be lost')
    if isinstance(module, nn.modules.conv._ConvNd) and any(
            isinstance(child, _BatchNorm) for child in parent.children()):
        return ('a batch norm stands beside this convolution, and conv-bn fusion would fold it in '
                'before the attention')
    if output_channels(module) is None:
        return f'it is not known whether {type(module).__name__} returns one map, and of how many channels'
    return None
