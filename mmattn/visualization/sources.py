"""Find the blocks of a model whose gates can be recorded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import nn

from mmattn.blocks import AttentionBlock, Compose
from mmattn.blocks.outermost import outermost
from mmattn.insertion.attention import Attention
from mmattn.insertion.globs import glob_match, nearest_names


@dataclass(frozen=True)
class GateSource:
    """A block that has gates.

    Attributes:
        name: Name of the block's site, or the block's path in the model if it was not inserted at a site.
        block: The block.
        host: The module whose input the gates are computed from: the block itself, or the parallel
            :class:`~mmattn.blocks.Compose` that contains it.
    """

    name: str
    block: AttentionBlock
    host: nn.Module


def gate_sources(model: nn.Module) -> list[GateSource]:
    """Return the blocks of ``model`` that have gates, however they were put there.

    Additive blocks and modules that are no attention block have no gates and are left out. The parts of
    a :class:`~mmattn.blocks.Compose` are listed one by one.
    """
    attention = getattr(model, 'attention', None)
    found, inserted = [], set()
    if isinstance(attention, Attention):
        entries = [(site.name, block) for site, _, block in attention.blocks()]
        count, seen = Counter(name for name, _ in entries), Counter()
        for name, block in entries:
            seen[name] += 1
            found += _sources(name if count[name] == 1 else f'{name}#{seen[name]}', block)
        inserted = set(attention.modules())
    for path, block in _outermost(model, inserted):
        found += _sources(path, block)
    return found


def why_no_gates(model: nn.Module) -> str:
    """Say why a model without :func:`gate_sources` has none, and what to do."""
    attention = getattr(model, 'attention', None)
    blocks = list(attention.blocks()) if isinstance(attention, Attention) else []
    found = Counter(type(block).__name__ for _, _, block in blocks)
    found.update(type(block).__name__ for _, block in _outermost(model, {block for *_, block in blocks}))
    if found:
        listed = ', '.join(f'{name} ({count})' for name, count in found.items())
        return f'{listed} adds to its map or is of another package, so that there is no gate to show'
    return (
        'it has no attention block of mmattn. Give the config and the checkpoint of a detector with '
        "model=dict(type='mmattn.WithAttention', ...)"
    )


def sources_at(models: Sequence[nn.Module], globs: Sequence[str] = ()) -> list[list[GateSource]]:
    """Return the :func:`gate_sources` of each model, only those that match ``globs`` if any are given.

    Raises:
        ValueError: If a glob matches no source in any of the models.
    """
    sources = [gate_sources(model) for model in models]
    names = list(dict.fromkeys(source.name for each in sources for source in each))
    for glob in globs:
        if not any(glob_match(glob, name) for name in names):
            near = ', '.join(nearest_names(glob, names))
            raise ValueError(
                f"'{glob}' matches no site that has a gate; "
                + (f'nearest: {near}' if names else 'this model has none')
            )
    return [
        [source for source in each if not globs or any(glob_match(g, source.name) for g in globs)]
        for each in sources
    ]


def _sources(name: str, block: nn.Module) -> Iterator[GateSource]:
    if isinstance(block, Compose):
        for i, part in enumerate(block.blocks):
            if block.how == 'parallel':
                yield GateSource(f'{name}.blocks.{i}', part, block)
            else:
                yield from _sources(f'{name}.blocks.{i}', part)
    elif isinstance(block, AttentionBlock) and block.role != 'additive':
        yield GateSource(name, block, block)
    else:
        for path, part in _outermost(block, {block}):
            yield from _sources(f'{name}.{path}', part)


def _outermost(model: nn.Module, without: set[nn.Module]) -> Iterator[tuple[str, nn.Module]]:
    """Yield the outermost attention blocks, but for some, with their paths (a model's own: its class)."""

    def is_block(path: str, module: nn.Module) -> bool:
        return isinstance(module, AttentionBlock) and module not in without

    for path, block in outermost(model, is_block):
        yield path or type(model).__name__, block
