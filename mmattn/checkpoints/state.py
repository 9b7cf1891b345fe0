"""Take a checkpoint apart: the detector's weights, its attention's weights and the insertion specs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from mmattn.insertion.attention import Attention
from mmattn.insertion.spec import SPEC_KEY

ATTENTION = 'attention.'
"""Prefix of attention's names in the state dict of a detector."""
RESUME_RECORD = 'exact_resume'
"""Key of a checkpoint for what ``ExactResumeHook`` keeps; ``'optimizer'`` in it is the class's name."""

_SPEC = ATTENTION + SPEC_KEY


def state_dict_of(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Return the weights in a checkpoint, as MMEngine loads them: without the prefix of a distributed model.

    With a moving average (``EMAHook``), these are the averaged weights; MMEngine keeps the others under
    ``ema_state_dict``.

    Raises:
        ValueError: It is no checkpoint.
    """
    state = checkpoint.get('state_dict', checkpoint) if isinstance(checkpoint, Mapping) else None
    if not isinstance(state, Mapping) or not state or not all(isinstance(key, str) for key in state):
        raise ValueError('this is not a checkpoint: it holds no state_dict')
    return {key.removeprefix('module.'): value for key, value in state.items()}


def split_state(state: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the detector's own weights, and those of its attention without the spec."""
    tensors = {key: value for key, value in state.items() if isinstance(value, Tensor) and key != _SPEC}
    own = {key: value for key, value in tensors.items() if not key.startswith(ATTENTION)}
    return own, {key: value for key, value in tensors.items() if key.startswith(ATTENTION)}


def specs_in(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the encoded specs by the path of the part that has attention; ``''`` is the whole model."""
    return {
        key.removesuffix(_SPEC).rstrip('.'): value
        for key, value in state.items()
        if key == _SPEC or key.endswith(f'.{_SPEC}')
    }


def parts_with_attention(model: nn.Module) -> list[str]:
    """Return the paths of the parts of ``model`` that have attention; ``''`` is the whole model."""
    return [
        path.rpartition('attention')[0].rstrip('.')
        for path, module in model.named_modules()
        if isinstance(module, Attention)
    ]
