"""How a video detector tells its attention of which clips a batch consists."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn

from mmattn.blocks import TemporalAttention

try:
    from mmdet.models import BaseDetector
except ModuleNotFoundError as error:
    if error.name.split('.')[0] not in ('mmdet', 'mmcv'):
        raise
    BaseDetector = None  # no mmdet, none of its detectors


class _Tell:
    """A forward pre-hook of the model, for the blocks whose number of frames is not given."""

    def __call__(self, model, args, kwargs) -> None:
        found = _clips(*args, **kwargs)
        for block in _waiting(model):
            block.clips = found


class _Forget:
    """A forward hook of the model, which is called after an exception as well."""

    def __call__(self, model, args, output) -> None:
        for block in _waiting(model):
            block.clips = None


def put(model: nn.Module) -> None:
    """Have ``model`` tell its attention, if any of it has to be told."""
    if next(_waiting(model), None) is None:
        return
    model.register_forward_pre_hook(_Tell(), with_kwargs=True)
    model.register_forward_hook(_Forget(), always_call=True)


def take(model: nn.Module) -> None:
    """Undo :func:`put`."""
    for hooks in (model._forward_pre_hooks, model._forward_hooks):
        for key in [key for key, hook in hooks.items() if isinstance(hook, (_Tell, _Forget))]:
            del hooks[key]
            model._forward_pre_hooks_with_kwargs.pop(key, None)
            model._forward_hooks_always_called.pop(key, None)


def require_clips(model: nn.Module, block: nn.Module) -> None:
    """Raise ``ValueError`` where ``block`` waits for clips and ``model`` is a detector of pictures."""
    if next(_waiting_in(block), None) is not None and BaseDetector and isinstance(model, BaseDetector):
        raise ValueError(
            'TemporalAttention: num_frames=None takes the number of frames from the batches of '
            f'a video detector, and {type(model).__name__} is one of pictures: write '
            'num_frames=..., with batches of so many pictures that belong together'
        )


def _waiting(model: nn.Module) -> Iterator[TemporalAttention]:
    return _waiting_in(model.attention)


def _waiting_in(module: nn.Module) -> Iterator[TemporalAttention]:
    return (
        each for each in module.modules() if isinstance(each, TemporalAttention) and each.num_frames is None
    )


def _clips(inputs=None, data_samples=None, *args, **kwargs) -> tuple[int, int] | None:
    """Clips and frames of a batch: of its inputs, ``(B, T, C, H, W)``, else of its data samples."""
    if isinstance(inputs, dict):
        inputs = inputs.get('img')
    if isinstance(inputs, Tensor) and inputs.dim() == 5:
        return inputs.shape[0], inputs.shape[1]
    lengths = {len(sample) for sample in data_samples or () if hasattr(sample, 'video_data_samples')}
    return (len(data_samples), lengths.pop()) if len(lengths) == 1 else None
