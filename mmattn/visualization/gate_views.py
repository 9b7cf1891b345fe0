"""Reduce a block's gates to one value per position or per channel, for drawing."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from mmattn.blocks import AttentionBlock

SPATIAL_GATES = ('spatial', 'height', 'width', 'group', 'element')
"""Names of the gates that differ between positions."""
CHANNEL_GATES = ('channel', 'frame', 'height', 'width', 'group', 'element')
"""Names of the gates that differ between channels."""


def spatial_view(gates: Mapping[str, Tensor], channels: int) -> Tensor | None:
    """Return the factor at each position, ``(N, H, W)``, or ``None`` if all positions get the same one.

    It is the product of all gates that differ between positions, averaged over channels. A single spatial
    gate is therefore returned unchanged.

    Args:
        gates: The gates of one block, by name.
        channels: Channels of the block's map.
    """
    product = _product(gates, SPATIAL_GATES, channels)
    return None if product is None else product.mean(1)


def channel_views(gates: Mapping[str, Tensor], channels: int) -> dict[str, Tensor]:
    """Return the factor of each channel, ``(N, C)``, by view; empty if all channels get the same one.

    The view ``'channel'`` is the product of all gates that differ between channels, averaged over positions.
    A block that chooses between branches has one view per branch instead.

    Args:
        gates: The gates of one block, by name.
        channels: Channels of the block's map.
    """
    if 'branch' in gates:
        return {f'branch {i + 1}': gate.mean((2, 3)) for i, gate in enumerate(gates['branch'].unbind(1))}
    product = _product(gates, CHANNEL_GATES, channels)
    return {} if product is None else {'channel': product.mean((2, 3))}


def view_range(
    block: AttentionBlock, gates: Mapping[str, Tensor], names: tuple[str, ...]
) -> tuple[float, float]:
    """Return the lowest and highest value that the product of the gates called ``names`` can take."""
    number = max(sum(name in names for name in gates), 1)
    return block.floor**number, block.ceiling**number


def _product(gates: Mapping[str, Tensor], names: tuple[str, ...], channels: int) -> Tensor | None:
    product = None
    for name, gate in gates.items():
        if name in names:
            gate = gate.float()
            if gate.shape[1] not in (1, channels):  # one gate for each group of successive channels
                gate = gate.repeat_interleave(channels // gate.shape[1], 1)
            product = gate if product is None else product * gate
    return product
