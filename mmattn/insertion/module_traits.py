"""What a module's attributes tell about it: its output channels, and whether a block may follow it."""

from __future__ import annotations

from torch import nn

from mmattn._private_apis import BatchNorm, InstanceNorm
from mmattn.insertion.positions import residual_position

_NORMS = (BatchNorm, InstanceNorm, nn.GroupNorm, nn.LayerNorm)
_CONVS = (
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)


def conv_channels(module: nn.Module) -> int | None:
    """Return the output channels of a 2-d convolution, or of a module around one (mmcv's ConvModule)."""
    # A neck or a RoI extractor has out_channels too, but no four-dimensional weight.
    conv = getattr(module, 'conv', module)
    weight = getattr(conv, 'weight', None)
    if isinstance(weight, nn.Parameter) and weight.dim() == 4:
        return getattr(module, 'out_channels', None)
    return None


def output_channels(module: nn.Module) -> int | None:
    """Return the channels of a module's output, or ``None`` if its attributes do not tell."""
    residual = residual_position(module)
    if residual is not None:
        return residual.channels(module)
    if isinstance(module, nn.Sequential):
        return output_channels(module[-1]) if len(module) else None
    return conv_channels(module)


def is_norm(module: nn.Module) -> bool:
    """Return True if ``module`` is a norm, which SyncBN conversion or conv-bn fusion may replace."""
    return isinstance(module, _NORMS)


def why_no_host(module: nn.Module, parent: nn.Module) -> str | None:
    """Return why no block may follow ``module``, a child of ``parent``, or ``None`` if one may."""
    if is_norm(module):
        return (
            'a norm is replaced by SyncBN conversion and by conv-bn fusion, and attention on it would be lost'
        )
    if isinstance(module, _CONVS) and any(isinstance(child, BatchNorm) for child in parent.children()):
        return (
            'this convolution has a batch norm beside it, which conv-bn fusion would fold into the '
            'convolution, before the attention'
        )
    return None
