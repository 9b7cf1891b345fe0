"""Take channels away from a block, as pruning takes them away from its map."""

from __future__ import annotations

from torch import Tensor, nn

from mmattn._private_apis import BatchNorm
from mmattn.blocks.base import AttentionBlock
from mmattn.blocks.outermost import outermost_blocks

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def keep_channels(block: AttentionBlock, kept: Tensor) -> None:
    """Reduce a block to some channels of its map, in place; widths inside it stay.

    Args:
        block: The block.
        kept: Indices of the channels that remain, ``(C',)``, ascending.

    Raises:
        ValueError: If the block cannot lose channels; it is then as it was.

    Example:
        >>> import torch
        >>> from mmattn.blocks import SE
        >>> block = SE(64)
        >>> keep_channels(block, torch.arange(10))
        >>> block.in_channels, block.fc1.weight.shape, block.fc2.weight.shape
        (10, torch.Size([4, 10, 1, 1]), torch.Size([10, 4, 1, 1]))
    """
    axes = block.channel_axes()
    for name, each in axes.items():
        path, _, attribute = name.rpartition('.')
        layer = block.get_submodule(path)
        for axis in each:
            take(layer, attribute, axis, kept)
        note_sizes(layer)
    for each in block.modules():
        if isinstance(each, AttentionBlock):
            each.in_channels = len(kept)
            each.forget_start()


def inner_channel_axes(block: AttentionBlock) -> dict[str, tuple[int, ...]]:
    """Return the :meth:`~mmattn.blocks.base.AttentionBlock.channel_axes` of the blocks in a block."""
    return {
        f'{path}.{name}': axes
        for path, inner in outermost_blocks(block)
        for name, axes in inner.channel_axes().items()
    }


def take(layer: nn.Module, name: str, axis: int, kept: Tensor) -> None:
    """Replace a parameter or buffer of ``layer`` by the entries ``kept`` of an axis of it."""
    old = getattr(layer, name)
    new = old.detach().index_select(axis, kept.to(old.device))
    if isinstance(old, nn.Parameter):
        new = nn.Parameter(new, old.requires_grad)
    setattr(layer, name, new)


def note_sizes(layer: nn.Module) -> None:
    """Let a layer of PyTorch say the sizes that its parameters have."""
    if isinstance(layer, _CONVOLUTIONS):
        layer.out_channels, layer.in_channels = layer.weight.shape[0], layer.weight.shape[1] * layer.groups
    elif isinstance(layer, nn.Linear):
        layer.out_features, layer.in_features = layer.weight.shape
    elif isinstance(layer, BatchNorm) and layer.running_mean is not None:
        layer.num_features = len(layer.running_mean)
    elif isinstance(layer, nn.GroupNorm) and layer.affine:
        layer.num_channels = len(layer.weight)
