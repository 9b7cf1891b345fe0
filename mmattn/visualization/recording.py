"""Record the gates of a model while it runs, and leave the model as it was."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mmattn._private_apis import backward_task
from mmattn.visualization.sources import GateSource, gate_sources


@dataclass
class RecordedGates:
    """The gates of one block in one call.

    Attributes:
        source: The block.
        call: Number of the call, from 0. A head shared by all levels is called once per level.
        x: The map ``(N, C, H, W)`` that the gates were computed from; ``None`` if they were reduced.
        gates: Gates by name, as the block's :meth:`~mmattn.blocks.base.AttentionBlock.gates` returned them;
            ``None`` if they were reduced.
        value: Result of ``reduce``, if it was given.
    """

    source: GateSource
    call: int
    x: Tensor | None
    gates: dict[str, Tensor] | None
    value: Any = None


@contextmanager
def record_gates(
    model: nn.Module,
    reduce: Callable[[GateSource, Tensor, dict[str, Tensor]], Any] | None = None,
    sources: list[GateSource] | None = None,
) -> Iterator[list[RecordedGates]]:
    """Record the gates of every forward pass of ``model`` inside the context.

    Each block's ``gates`` is computed once more from the block's input, without gradient. On exit, also by
    an exception, the model is as it was: no hooks, no changed norm statistics, no new attributes. Compiled
    modules run eagerly inside the context, because compiled code does not see new hooks. That takes
    PyTorch 2.6; older versions do not record compiled blocks.

    Args:
        model: A model with attention. Inside the context you may run the model or a wrapper around it.
        reduce: Called with the source, its map and its gates. Its result is kept in place of both, so
            that large maps need not be stored.
        sources: Record only these of the model's :func:`~mmattn.visualization.sources.gate_sources`.

    Yields:
        A list that grows by one entry for each call of a block, in the order of the calls.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from mmattn.visualization import record_gates
        >>> from mmattn.blocks import SE
        >>> model = nn.Sequential(nn.Conv2d(3, 64, 3), SE(64))
        >>> with record_gates(model) as recorded:
        ...     y = model(torch.rand(1, 3, 8, 8))
        >>> recorded[0].source.name, recorded[0].gates['channel'].shape
        ('1', torch.Size([1, 64, 1, 1]))
    """
    recorded: list[RecordedGates] = []
    calls: Counter = Counter()

    def hook(source):
        def record(module, args, output):
            if backward_task() != -1:
                return  # activation checkpointing runs the block again in the backward pass
            x = args[0].detach()
            taken = source.block.lazy_map(x)  # as its forward, with or without gradients
            with torch.no_grad(), _copied_buffers(source.block):
                gates = source.block.gates(taken)  # bit for bit those of its forward
                value = reduce and reduce(source, x, gates)
            recorded.append(
                RecordedGates(source, calls[source], None if reduce else x, None if reduce else gates, value)
            )
            calls[source] += 1

        return record

    handles = []
    try:
        for source in gate_sources(model) if sources is None else sources:
            handles.append(source.host.register_forward_hook(hook(source)))
        with _eager():
            yield recorded
    finally:
        for handle in handles:
            handle.remove()


def _eager():
    stance = getattr(torch.compiler, 'set_stance', None)
    return stance('force_eager') if stance else nullcontext()


@contextmanager
def _copied_buffers(block: nn.Module) -> Iterator[None]:
    """Make norms in training mode write to copies of their statistics.

    Writing the old values back would not do: autograd has saved these tensors and notices the write.
    """
    before = (
        [
            (module, name, buffer)
            for module in block.modules()
            for name, buffer in module.named_buffers(recurse=False, remove_duplicate=False)
        ]
        if block.training
        else []
    )
    try:
        for module, name, buffer in before:
            setattr(module, name, buffer.clone())
        yield
    finally:
        for module, name, buffer in before:
            setattr(module, name, buffer)
