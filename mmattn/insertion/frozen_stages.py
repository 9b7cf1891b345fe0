"""Find the frozen stages through which attention that trains sends gradients."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from mmattn.insertion.attention import Attention


@dataclass(frozen=True)
class FrozenStage:
    """A stage that keeps nothing for the backward pass without attention, and all it computes with it.

    Attributes:
        path: Path of the module.
        module: The module.
        keys: Entries of ``model.attention`` inside the stage; empty if attention before it sends gradients
            through it.
    """

    path: str
    module: nn.Module
    keys: tuple[str, ...]


def frozen_stages(model: nn.Module) -> Iterator[FrozenStage]:
    """Yield the frozen stages of a model with attention that gradients of its attention pass.

    A stage is a part of a backbone that has parts of its own, in the backbone's order; the stem can be one.
    Attention that follows a stage as a whole needs no gradient through it.
    """
    attention = model.attention
    trained = {
        site
        for site, _, block in attention.blocks()
        if any(parameter.requires_grad for parameter in block.parameters())
    }
    for backbone in _backbones(model):
        passed = False
        for path, stage in _parts(backbone, model.get_submodule(backbone)):
            own = [site for site in attention.claims if site.path.startswith(f'{path}.')]
            parameters = list(stage.parameters())
            frozen = bool(parameters) and not any(each.requires_grad for each in parameters)
            if frozen and next(stage.children(), None) and (passed or not trained.isdisjoint(own)):
                yield FrozenStage(path, stage, tuple(site.key for site in own))
            passed = passed or any(f'{site.path}.'.startswith(f'{path}.') for site in trained)


def _backbones(model: nn.Module) -> list[str]:
    """Return the paths of the backbones; of the model itself if it has none and is no detector's neck."""
    found = [path for path, _ in model.named_modules() if path.rpartition('.')[2] == 'backbone']
    return found or ['']


def _parts(path: str, module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield the children of a module; those of a list or dict of modules, which does not run, one by one."""
    for name, child in module.named_children():
        below = f'{path}.{name}' if path else name
        if isinstance(child, Attention):
            continue
        if isinstance(child, (nn.ModuleList, nn.ModuleDict)):
            yield from _parts(below, child)
        else:
            yield below, child
