"""What is in a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from mmattn.insertion.attention import Attention
from mmattn.insertion.spec import SPEC_KEY

ATTENTION = 'attention.'
_SPEC = ATTENTION + SPEC_KEY


def state_dict_of(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """The weights in a checkpoint, as MMEngine loads them: without the prefix of a distributed model.

    With a moving average (``EMAHook``), those are the averaged weights: MMEngine keeps the others under
    ``ema_state_dict``.
    """
    state = checkpoint.get('state_dict', checkpoint)
    if not isinstance(state, Mapping) or not state or not all(isinstance(key, str) for key in state):
        raise ValueError('this is not a checkpoint: it holds no state_dict')
    return {key.removeprefix('module.'): value for key, value in state.items()}


def split_state(state: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The detector's own weights and those of its attention, the spec left out."""
    tensors = {key: value for key, value in state.items() if isinstance(value, Tensor) and key != _SPEC}
    own = {key: value for key, value in tensors.items() if not key.startswith(ATTENTION)}
    return own, {key: value for key, value in tensors.items() if key.startswith(ATTENTION)}


def specs_in(state: Mapping[str, Any]) -> dict[str, Any]:
    """Encoded insertion specs by the path of the model that has the attention; ``''`` is the whole."""
    return {
        key.removesuffix(_SPEC).rstrip('.'): value
        for key, value in state.items()
        if key == _SPEC or key.endswith(f'.{_SPEC}')
    }


def parts_with_attention(model: nn.Module) -> list[str]:
    """Paths in ``model`` of what has attention; ``''`` is the whole."""
    return [
        path.rpartition('attention')[0].rstrip('.')
        for path, module in model.named_modules()
        if isinstance(module, Attention)
    ]
