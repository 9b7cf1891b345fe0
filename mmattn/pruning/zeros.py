"""Check a pruned model against the whole one, in which the channels that went are at zero.

A channel at zero adds nothing to what reads it, so both compute the same, if no layer was forgotten. Blocks
are left out of that, as some compare channels with each other (ECA, CBAM); so are models with group norms.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import deepcopy

import torch
from torch import nn

from mmattn.blocks import AttentionBlock
from mmattn.blocks.outermost import outermost_blocks
from mmattn.pruning.graph import SIZE, ChannelGroup, features, traceable

_TOLERANCE = 1e-3  # of the largest value of a map; sums in another order differ by some 1e-6


@torch.no_grad()
def require_same(
    pruned: nn.Module, whole: nn.Module, taken: Iterable[tuple[ChannelGroup, Sequence[int]]]
) -> None:
    """Run a pruned model, and compare its maps with those of the whole one.

    Args:
        pruned: The model that was pruned.
        whole: The model before.
        taken: The groups of the pruned model, and which channels went.

    Raises:
        ValueError: If it does not run, or its maps are others.
    """
    taken = list(taken)
    at_zero = _at_zero(pruned, whole, taken)
    like = next(whole.parameters())
    image = torch.rand(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    image = image.to(like.device, like.dtype)
    unseen = 'layers depend on each other in a way that Torch-Pruning does not see'
    try:
        found = _maps(pruned, image)
    except (RuntimeError, IndexError, ValueError) as error:
        raise ValueError(
            f'the pruned model does not run, as {unseen}: {error}. Leave that part alone with --ignore'
        ) from error
    if any(isinstance(module, nn.GroupNorm) for module in pruned.modules()):
        return
    for one, other in zip(found, _maps(at_zero, image), strict=True):
        if one.shape != other.shape or (one - other).abs().max() > _TOLERANCE * other.abs().max():
            raise ValueError(
                f'the pruned model computes other maps than the whole one with the same channels at zero, as '
                f'{unseen}. Leave that part alone with --ignore'
            )


def _maps(model: nn.Module, image: torch.Tensor) -> list[torch.Tensor]:
    with traceable(model, [block for _, block in outermost_blocks(model)]):
        model.eval()  # which MMDetection's detector with a teacher does not return
        return features(model, image)


def _at_zero(
    pruned: nn.Module, whole: nn.Module, taken: Sequence[tuple[ChannelGroup, Sequence[int]]]
) -> nn.Module:
    """Return a copy of the whole model, with the channels that went at zero."""
    names = {module: name for name, module in pruned.named_modules()}
    copied = deepcopy(whole)
    for group, channels in taken:
        gone = set(channels)
        for item in group.items:
            layer = item.dep.target.module
            if names.get(layer) not in group.layers or isinstance(layer, AttentionBlock):
                continue
            mine = copied.get_submodule(names[layer])
            rows = [i for i, root in zip(item.idxs, item.root_idxs) if root in gone]
            for parameter in (mine.weight, mine.bias):
                if parameter is not None:
                    parameter[rows] = 0
    return copied
