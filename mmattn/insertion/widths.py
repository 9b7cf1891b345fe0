"""The widths of a pruned model: how many channels its layers and blocks have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import torch
from torch import nn

from mmattn._private_apis import BatchNorm, InstanceNorm
from mmattn.blocks.base import AttentionBlock
from mmattn.blocks.channels import keep_channels, note_sizes, take
from mmattn.insertion.attention import Attention
from mmattn.insertion.spec import spec_of

_NORMS = (BatchNorm, InstanceNorm, nn.GroupNorm)
_WEIGHTED = (nn.Conv2d, nn.Linear)
_OF_NORMS = 'weight', 'bias', 'running_mean', 'running_var'
LAYERS = (AttentionBlock, *_WEIGHTED, *_NORMS)
"""The layers whose widths can be set."""


def widths_of(model: nn.Module) -> dict[str, Any]:
    """Return the widths of all layers and blocks of ``model`` that pruning can narrow, by their paths.

    Returns:
        ``[out, in]`` for a convolution or linear layer, one number for a norm or a block.
    """
    found: dict[str, Any] = {}
    inside: list[str] = []
    for path, module in model.named_modules():
        if any(path.startswith(f'{each}.') for each in inside):
            continue
        if isinstance(module, AttentionBlock):
            inside.append(path)
            found[path] = module.in_channels
        elif isinstance(module, nn.Conv2d):
            found[path] = [module.out_channels, module.in_channels]
        elif isinstance(module, nn.Linear):
            found[path] = [module.out_features, module.in_features]
        elif isinstance(module, _NORMS):
            widths = [len(getattr(module, name)) for name in _OF_NORMS if _has(module, name)]
            if widths:
                found[path] = widths[0]
    return found


def set_widths(model: nn.Module, widths: Mapping[str, Any]) -> nn.Module:
    """Give layers and blocks of ``model`` fewer channels, the first of those that they have, in place.

    Args:
        model: A model, with or without attention.
        widths: What :func:`widths_of` gives for a pruned one; layers that keep their widths may be missing.

    Raises:
        ValueError: If the model has no such layer, or a narrower one.
    """
    if not isinstance(widths, Mapping):
        raise TypeError(f'widths is a dict of numbers of channels by layer; got {widths!r}')
    present = widths_of(model)
    for path, width in widths.items():
        if path not in present:
            near = get_close_matches(path, present, n=1)
            hint = f'; the nearest is {near[0]!r}' if near else ''
            raise ValueError(
                f"widths names '{path}', which is no layer of this {type(model).__name__}{hint}. "
                'They are those of one model: leave its other settings as they were when it was pruned'
            )
        _check(path, width, present[path])
    for path, width in widths.items():
        _narrow(model.get_submodule(path), width)
    for part in model.modules():
        if isinstance(getattr(part, 'attention', None), Attention):
            part.attention.spec = spec_of(part.attention)
    return model


def _check(path: str, width: Any, present: Any) -> None:
    asked, have = (_numbers(each) for each in (width, present))
    fits = len(asked) == len(have) and all(
        isinstance(one, int) and 0 < one <= other for one, other in zip(asked, have)
    )
    if not fits:
        raise ValueError(f"widths['{path}'] is {width!r}, but the layer that is to be narrowed has {present}")


def _numbers(width: Any) -> list:
    return list(width) if isinstance(width, Sequence) and not isinstance(width, str) else [width]


def _narrow(layer: nn.Module, width: Any) -> None:
    if isinstance(layer, AttentionBlock):
        if width != layer.in_channels:
            keep_channels(layer, torch.arange(width))
    elif isinstance(layer, _WEIGHTED):
        _narrow_weight(layer, *width)
    else:
        for name in _OF_NORMS:
            if _has(layer, name):
                take(layer, name, 0, torch.arange(width))
        note_sizes(layer)


def _has(layer: nn.Module, name: str) -> bool:
    return getattr(layer, name, None) is not None


def _narrow_weight(layer: nn.Module, out: int, into: int) -> None:
    depthwise = isinstance(layer, nn.Conv2d) and layer.groups == layer.in_channels == layer.out_channels > 1
    if depthwise:
        layer.groups = out
    take(layer, 'weight', 0, torch.arange(out))
    take(layer, 'weight', 1, torch.arange(into // getattr(layer, 'groups', 1)))
    if layer.bias is not None:
        take(layer, 'bias', 0, torch.arange(out))
    note_sizes(layer)
