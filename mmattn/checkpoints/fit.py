"""Check that a checkpoint is one of the model that it is loaded into, before a random model is evaluated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from mmattn.checkpoints.state import split_state, state_dict_of

_REMEDY = 'Give the config that it was trained with, which lies in its work directory'


def require_fit(model: nn.Module, checkpoint: Mapping[str, Any], path: str) -> None:
    """Raise ``ValueError`` unless a checkpoint's weights fit a model, attention aside.

    MMEngine loads what fits and leaves the rest at random, with a warning among many lines. Attention has its
    own check, :func:`~mmattn.checkpoints.check_insertion`.

    Args:
        model: A model, wrapped or not.
        checkpoint: A checkpoint as read from its file, or a state dict.
        path: Its file, for the message.

    Example:
        >>> from torch import nn
        >>> from mmattn.checkpoints.fit import require_fit
        >>> require_fit(nn.Linear(3, 2), nn.Linear(3, 2).state_dict(), 'a.pth')
    """
    saved, _ = split_state(state_dict_of(checkpoint))
    own, _ = split_state(state_dict_of(model.state_dict()))
    common = saved.keys() & own.keys()
    other = [name for name in own if name in common and saved[name].shape != own[name].shape]
    if own and saved and not common:
        raise ValueError(
            f"'{path}' is of another model than the config: it has none of its weights, such as "
            f'{next(iter(own))}, but {next(iter(saved))}. {_REMEDY}'
        )
    if other:
        first = f'{other[0]}: {_shape(saved[other[0]])} in the file, {_shape(own[other[0]])} in the model'
        raise ValueError(
            f"'{path}' is of another model than the config, or of other classes: {len(other)} of "
            f'{len(common)} weights differ in shape, the first is {first}. {_REMEDY}'
        )


def _shape(weight: Tensor) -> tuple[int, ...]:
    return tuple(weight.shape)
