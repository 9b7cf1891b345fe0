"""The protocol of blocks that relate the frames of a video clip to one another."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from torch import nn


class ClipBlock(Protocol):
    """A block whose batch holds whole clips one after the other, ``(B * T, C, H, W)``.

    A block follows the protocol by having these three attributes; it needs no base class. It is also found
    inside other blocks, such as :class:`~mmattn.blocks.Compose` and :class:`~mmattn.blocks.External`.
    """

    wants_clips: bool
    """True if the number of frames is not an option of this block but that of the current batch."""
    clips_option: str
    """Name of the option that fixes the number of frames, for error messages."""

    def set_clips(self, clips: tuple[int, int] | None) -> None:
        """Take the number of clips and of frames per clip in the current batch; ``None`` forgets them.

        A video detector calls this before and after each forward pass if ``wants_clips`` is True. On fake
        tensors it is called for every block, and then takes precedence over the option.
        """


def clip_blocks(module: nn.Module) -> Iterator[ClipBlock]:
    """Yield ``module`` and the modules inside it that follow :class:`ClipBlock`."""
    return (each for each in module.modules() if hasattr(each, 'set_clips'))


@contextmanager
def clips_set(module: nn.Module, clips: tuple[int, int]) -> Iterator[None]:
    """Set ``clips`` for all clip blocks in ``module`` within this context."""
    blocks = list(clip_blocks(module))
    for block in blocks:
        block.set_clips(clips)
    try:
        yield
    finally:
        for block in blocks:
            block.set_clips(None)
