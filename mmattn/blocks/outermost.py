"""Find the outermost blocks of a model: those that lie in no other."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from torch import nn

from mmattn.blocks.base import AttentionBlock


def outermost(
    model: nn.Module, is_wanted: Callable[[str, nn.Module], bool]
) -> Iterator[tuple[str, nn.Module]]:
    """Yield the wanted modules of a model, itself included, that lie in no other wanted one.

    Args:
        model: The model, whose own path is ``''``.
        is_wanted: Called with the path of a module and the module.
    """
    found: list[str] = []
    for path, module in model.named_modules():
        if not any(path.startswith(before) for before in found) and is_wanted(path, module):
            yield path, module
            found.append(f'{path}.' if path else '')


def outermost_blocks(model: nn.Module) -> Iterator[tuple[str, AttentionBlock]]:
    """Yield the outermost blocks below a model, which may be a block itself, with their paths."""
    return outermost(model, lambda path, each: isinstance(each, AttentionBlock) and each is not model)
