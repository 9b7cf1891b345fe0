"""Check that a file's weights are those of the model that they are loaded into, before it stays random."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from typing import Any

from mmengine.logging import print_log
from torch import Tensor, nn

from mmattn.checkpoints.state import split_state, state_dict_of

_REMEDY = 'Give the config that it was trained with, which lies in its work directory'


def require_fit(model: nn.Module, checkpoint: Mapping[str, Any], path: str, whole: bool = False) -> None:
    """Raise ``ValueError`` unless a checkpoint's weights fit a model, attention aside.

    MMEngine loads what fits and leaves the rest at random, with a warning among many lines. Attention has its
    own check, :func:`~mmattn.checkpoints.check_insertion`.

    Args:
        model: A model, wrapped or not.
        checkpoint: A checkpoint as read from its file, or a state dict.
        path: Its file, for the message.
        whole: Also refuse a file that lacks parameters of the model, which would stay at random.

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
    parameters = (name.removeprefix('module.') for name, _ in model.named_parameters())
    lacking = [name for name in parameters if name in own and name not in saved]
    if whole and lacking:
        raise ValueError(
            f"'{path}' has {len(common)} of the model's {len(own)} weights; it lacks {lacking[0]}"
            f'{" and others" if lacking[1:] else ""}, which would stay at random. {_REMEDY}'
        )


def require_weights_for(
    module: nn.Module, checkpoint: Mapping[str, Any], file: str, prefix: str = ''
) -> None:
    """Raise ``ValueError`` if a file has no weight of a module; warn if it has fewer than half of them.

    Pretrained weights may be of a part of the model, of other classes or of another head. Those that have
    nothing in common are a mistake, after which MMEngine trains from random values, with a warning among
    many lines.

    Args:
        module: The model, or the part that loads the file; its attention is not looked at.
        checkpoint: What the file holds.
        file: The file and the config key that names it, for messages.
        prefix: What comes before the part's names in the file.

    Example:
        >>> from torch import nn
        >>> from mmattn.checkpoints.fit import require_weights_for
        >>> saved = nn.ModuleDict(dict(backbone=nn.Linear(3, 2))).state_dict()
        >>> require_weights_for(nn.Linear(3, 2), saved, 'a.pth', 'backbone.')
    """
    state, attention = split_state(state_dict_of(checkpoint))
    saved = {name: _shape(weight) for name, weight in state.items()}
    # A mean teacher hands a detector's weights on to its student and its teacher.
    parts = [module, *(child for child in module.children() if hasattr(child, 'backbone'))]
    module, own = max(
        ((part, _shapes_of(part)) for part in parts), key=lambda each: _number_of(each[1], saved, prefix)
    )
    found = _number_of(own, saved, prefix)
    what = f'{len(own)} weights of {type(module).__name__}'
    if not own or 2 * found >= len(own) or attention and not saved:
        return
    if found:
        print_log(
            f'{file} has {found} of the {what}; the others keep their initial values',
            logger='current',
            level=logging.WARNING,
        )
        return
    best = _best_prefix(own, saved)
    remedy = f'Name a file with weights of {type(module).__name__}'
    if best is not None and 2 * _number_of(own, saved, best) >= len(own):
        says = f'prefix={best!r}' if best else 'no prefix'
        remedy = f'With {says} it has {_number_of(own, saved, best)} of them: set that beside its name'
    raise ValueError(
        f'{file} has none of the {what}, such as {prefix}{next(iter(own))}, but '
        f'{next(iter(saved), "no tensor")}. {remedy}'
    )


def _shapes_of(module: nn.Module) -> dict[str, tuple[int, ...]]:
    state = {name.removeprefix('module.'): weight for name, weight in module.state_dict().items()}
    own, _ = split_state(state)
    return {name: _shape(weight) for name, weight in own.items() if not name.endswith('num_batches_tracked')}


def _number_of(own: Mapping[str, tuple], saved: Mapping[str, tuple], prefix: str) -> int:
    return sum(saved.get(prefix + name) == shape for name, shape in own.items())


def _best_prefix(own: Mapping[str, tuple], saved: Mapping[str, tuple]) -> str | None:
    """Return the prefix with which the file has the most weights; ``None`` if it has none with any."""
    prefixes = Counter(
        name.removesuffix(each)
        for each, shape in own.items()
        for name, other in saved.items()
        if shape == other and (name == each or name.endswith(f'.{each}'))
    )
    return prefixes.most_common(1)[0][0] if prefixes else None


def _shape(weight: Tensor) -> tuple[int, ...]:
    return tuple(weight.shape)
