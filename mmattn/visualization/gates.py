"""The gates of a model while it runs, without a trace left on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mmattn.blocks import AttentionBlock, Compose
from mmattn.insertion.globs import glob_match, nearest_names

OF_POSITIONS = ('spatial', 'height', 'width', 'group', 'element')
OF_CHANNELS = ('channel', 'frame', 'height', 'width', 'group', 'element')


@dataclass(frozen=True)
class Source:
    """A block that has gates.

    Attributes:
        name: Of its site, or its path in the model where it came by another door.
        block: The block.
        host: The module from whose input its gates are computed: the block, or the
            :class:`~mmattn.blocks.Compose` in which it stands beside others.
    """

    name: str
    block: AttentionBlock
    host: nn.Module


@dataclass
class Gates:
    """The gates of one block in one of its calls.

    Attributes:
        source: The block.
        call: Which call of it, from 0; a head that all levels share is called for each of them.
        x: The map ``(N, C, H, W)`` from which they were computed.
        gates: What its :meth:`~mmattn.blocks.base.AttentionBlock.gates` returned.
        value: What ``reduce`` made of them.
    """

    source: Source
    call: int
    x: Tensor | None
    gates: dict[str, Tensor] | None
    value: Any = None


def gate_sources(model: nn.Module) -> list[Source]:
    """The blocks of ``model`` that have gates, whichever door they came by.

    What adds to its map has none, nor has a module from elsewhere. The parts of
    a :class:`~mmattn.blocks.Compose` stand for themselves.
    """
    attention = getattr(model, 'attention', None)
    found, named = [], set()
    if getattr(attention, 'holds_attention', False):
        entries = [(site.name, block) for site, _, block in attention.blocks()]
        count, seen = Counter(name for name, _ in entries), Counter()
        for name, block in entries:
            seen[name] += 1
            found += _sources(name if count[name] == 1 else f'{name}#{seen[name]}', block)
        named = set(attention.modules())
    for path, block in _outermost(model, named):
        found += _sources(path, block)
    return found


def sources_at(models: Sequence[nn.Module], globs: Sequence[str] = ()) -> list[list[Source]]:
    """For each model :func:`gate_sources`, of them those at ``globs``, all by default.

    Raises:
        ValueError: A glob matches in none of them.
    """
    sources = [gate_sources(model) for model in models]
    names = list(dict.fromkeys(source.name for each in sources for source in each))
    for glob in globs:
        if not any(glob_match(glob, name) for name in names):
            near = ', '.join(nearest_names(glob, names))
            raise ValueError(
                f"'{glob}' matches no site that has a gate; "
                + (f'nearest: {near}' if names else 'there is none in this model')
            )
    return [
        [source for source in each if not globs or any(glob_match(g, source.name) for g in globs)]
        for each in sources
    ]


def _sources(name: str, block: nn.Module) -> Iterator[Source]:
    if isinstance(block, Compose):
        for i, part in enumerate(block.blocks):
            if block.how == 'parallel':
                yield Source(f'{name}.blocks.{i}', part, block)
            else:
                yield from _sources(f'{name}.blocks.{i}', part)
    elif isinstance(block, AttentionBlock) and block.role != 'additive':
        yield Source(name, block, block)
    else:
        for path, part in _outermost(block, {block}):
            yield from _sources(f'{name}.{path}', part)


def _outermost(model: nn.Module, without: set[nn.Module]) -> Iterator[tuple[str, AttentionBlock]]:
    if isinstance(model, AttentionBlock) and model not in without:
        yield type(model).__name__, model
        return
    found: list[str] = []
    for path, module in model.named_modules():
        if (
            isinstance(module, AttentionBlock)
            and module not in without
            and not any(path.startswith(f'{each}.') for each in found)
        ):
            found.append(path)
            yield path, module


@contextmanager
def record_gates(
    model: nn.Module,
    reduce: Callable[[Source, Tensor, dict[str, Tensor]], Any] | None = None,
    sources: list[Source] | None = None,
) -> Iterator[list[Gates]]:
    """A context in which every forward pass of ``model`` is recorded.

    The gates are computed once more from the input of each block, as its ``gates`` says, without
    gradient. Whatever happens within, the model is left as it was: no hooks, no statistics of norms, no
    attributes. What is compiled runs eagerly within, as compiled code does not see new hooks (PyTorch 2.6 and
    later; before, compiled blocks are missing).

    Args:
        model: Any model with attention; what it is wrapped in may be run instead.
        reduce: Called with the block, its map and its gates; what it returns is kept in place of them, so
            that large maps need not be.
        sources: Only these, of :func:`gate_sources`.

    Yields:
        One entry for each call of each block, in the order of the calls.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from mmattn.visualization.gates import record_gates
        >>> from mmattn.blocks import SE
        >>> model = nn.Sequential(nn.Conv2d(3, 64, 3), SE(64))
        >>> with record_gates(model) as found:
        ...     y = model(torch.rand(1, 3, 8, 8))
        >>> found[0].source.name, found[0].gates['channel'].shape
        ('1', torch.Size([1, 64, 1, 1]))
    """
    found: list[Gates] = []
    calls: Counter = Counter()

    def hook(source):
        def record(module, args, output):
            if torch._C._current_graph_task_id() != -1:
                return  # activation checkpointing runs it again in the backward pass
            x = args[0].detach()
            with torch.no_grad(), _own_buffers(source.block):
                gates = source.block.gates(source.block.held(x))  # bit for bit those of its forward
                value = reduce and reduce(source, x, gates)
            found.append(
                Gates(source, calls[source], None if reduce else x, None if reduce else gates, value)
            )
            calls[source] += 1

        return record

    handles = []
    try:
        for source in gate_sources(model) if sources is None else sources:
            handles.append(source.host.register_forward_hook(hook(source)))
        with _eager():
            yield found
    finally:
        for handle in handles:
            handle.remove()


def _eager():
    stance = getattr(torch.compiler, 'set_stance', None)
    return stance('force_eager') if stance else nullcontext()


@contextmanager
def _own_buffers(block: nn.Module):
    """Norms in training write to copies of their statistics.

    Copying the values back would not do: autograd has saved the tensors and sees that they were written to.
    """
    before = (
        [
            (module, name, buffer)
            for module in block.modules()
            for name, buffer in module._buffers.items()
            if buffer is not None
        ]
        if block.training
        else []
    )
    try:
        for module, name, buffer in before:
            module._buffers[name] = buffer.clone()
        yield
    finally:
        for module, name, buffer in before:
            module._buffers[name] = buffer


def spatial_view(gates: dict[str, Tensor], channels: int) -> Tensor | None:
    """What multiplies each position, ``(N, H, W)``; ``None`` where all are treated alike.

    The product of all gates that depend on the position; its mean over channels where they depend on these
    as well. So a spatial gate is shown as it is.
    """
    product = _product(gates, OF_POSITIONS, channels)
    return None if product is None else product.mean(1)


def channel_views(gates: dict[str, Tensor], channels: int) -> dict[str, Tensor]:
    """What multiplies each channel, ``(N, C)``, by what it is called; empty where all are treated alike.

    The product of all gates that depend on the channel; its mean over positions where they depend on these
    as well. Each branch of a choice between branches has its own.
    """
    if 'branch' in gates:
        return {f'branch {i + 1}': gate.mean((2, 3)) for i, gate in enumerate(gates['branch'].unbind(1))}
    product = _product(gates, OF_CHANNELS, channels)
    return {} if product is None else {'channel': product.mean((2, 3))}


def view_ends(block: AttentionBlock, gates: dict[str, Tensor], kinds: tuple[str, ...]) -> tuple[float, float]:
    """The range of a view: of the product of all gates of these ``kinds``."""
    number = max(sum(kind in kinds for kind in gates), 1)
    return block.floor**number, block.ceiling**number


def _product(gates: dict[str, Tensor], kinds: tuple[str, ...], channels: int) -> Tensor | None:
    product = None
    for kind, gate in gates.items():
        if kind in kinds:
            gate = gate.float()
            if gate.shape[1] not in (1, channels):  # groups of successive channels
                gate = gate.repeat_interleave(channels // gate.shape[1], 1)
            product = gate if product is None else product * gate
    return product
