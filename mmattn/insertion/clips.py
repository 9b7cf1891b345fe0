"""Pass the clips of each batch from a video detector to the blocks in it that want them."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn

from mmattn import _compat
from mmattn._private_apis import remove_hooks
from mmattn.blocks.clips import ClipBlock, clip_blocks

_mmdet_models = _compat.optional('mmdet.models')


class _SetClips:
    """Forward pre-hook of the model: sets the clips of the batch."""

    def __call__(self, model: nn.Module, args: tuple, kwargs: dict) -> None:
        model.attention.clips = clips = _clips(*args, **kwargs)
        for block in _waiting(model.attention):
            block.set_clips(clips)


class _ForgetClips:
    """Forward hook of the model, called after an exception too: forgets the clips."""

    def __call__(self, model: nn.Module, args: tuple, output: object) -> None:
        model.attention.clips = None
        for block in _waiting(model.attention):
            block.set_clips(None)


def put(model: nn.Module) -> None:
    """Make ``model`` pass the clips of each batch to its blocks, if any of them wants clips."""
    if next(_waiting(model.attention), None) is None:
        return
    model.register_forward_pre_hook(_SetClips(), with_kwargs=True)
    model.register_forward_hook(_ForgetClips(), always_call=True)


def take(model: nn.Module) -> None:
    """Undo :func:`put`."""
    remove_hooks(model, (_SetClips, _ForgetClips))


def require_clips(model: nn.Module, block: nn.Module) -> None:
    """Raise ``ValueError`` if ``block`` wants clips and ``model`` is a detector of single images."""
    waiting = next(_waiting(block), None)
    if waiting is not None and _mmdet_models and isinstance(model, _mmdet_models.BaseDetector):
        option = waiting.clips_option
        raise ValueError(
            f'{type(waiting).__name__}: {option}=None takes the number of frames from the batches of '
            f'a video detector, and {type(model).__name__} is a detector of single images: write '
            f'{option}=..., and give batches that hold this number of successive images per clip'
        )


def _waiting(module: nn.Module) -> Iterator[ClipBlock]:
    return (block for block in clip_blocks(module) if block.wants_clips)


def _clips(inputs=None, data_samples=None, *args, **kwargs) -> tuple[int, int] | None:
    """Return the clips and frames of a batch, from inputs ``(B, T, C, H, W)`` or else its data samples."""
    if isinstance(inputs, dict):
        inputs = inputs.get('img')
    if isinstance(inputs, Tensor) and inputs.dim() == 5:
        return inputs.shape[0], inputs.shape[1]
    lengths = {len(sample) for sample in data_samples or () if hasattr(sample, 'video_data_samples')}
    return (len(data_samples), lengths.pop()) if len(lengths) == 1 else None
