"""Check that a block from elsewhere which says that it starts as the identity does so."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from mmattn.blocks.base import AttentionBlock
from mmattn.blocks.clips import clips_set
from mmattn.blocks.eval_mode import in_eval_mode
from mmattn.insertion.rule import Rule

_SHAPES = (1, 8, 12), (2, 32, 48)  # the second is what every block has been run on, without values


def is_ours(module: nn.Module) -> bool:
    """Return True if a module's class is one of this package's or PyTorch's."""
    return type(module).__module__.partition('.')[0] in ('mmattn', 'torch')


def require_identity(rule: Rule, block: nn.Module, channels: int) -> None:
    """Raise ``ValueError`` if a block with ``start='identity'`` and code from elsewhere changes a map.

    Args:
        rule: The rule that asks for the block.
        block: A new block.
        channels: Channels of its maps.
    """
    if getattr(block, 'start', None) != 'identity' or all(is_ours(each) for each in block.modules()):
        return
    like = next((p for p in block.parameters() if p.is_floating_point()), torch.zeros(()))
    if like.is_meta or type(like.detach()) is not Tensor:  # without values
        return
    generator = torch.Generator().manual_seed(0)
    for n, h, w in _SHAPES:
        x = torch.randn(n, channels, h, w, generator=generator).to(like.device, like.dtype)
        try:
            found = _difference(block, x)
            break
        except Exception as error:  # a forward may raise anything
            failure = f'{type(error).__name__}: {error}'
    else:
        print_log(
            f"{rule}: {type(block).__name__} has start='identity', which could not be checked: {failure}",
            logger='current',
            level=logging.WARNING,
        )
        return
    if found:
        raise ValueError(
            f"{rule}: {type(block).__name__} has start='identity', but the map that it returns differs from "
            f'its input by up to {found:.3g}. {_likely_cause(block, x)}'
        )


@torch.no_grad()
def _difference(block: nn.Module, x: Tensor) -> float:
    """Return by how much the output of the block in evaluation mode differs from its input; 0 for no bit."""
    buffers = {buffer: buffer.clone() for buffer in block.buffers()}
    rng = torch.random.fork_rng(devices=[x.device] if x.is_cuda else [])
    try:
        with in_eval_mode(block), rng, clips_set(block, (len(x), 1)):
            y = block(x)
    finally:
        for buffer, value in buffers.items():
            buffer.copy_(value)
    return 0.0 if y.equal(x) else (y.double() - x.double()).abs().max().item() or float('nan')


def _likely_cause(block: nn.Module, x: Tensor) -> str:
    blocks = [each for each in block.modules() if isinstance(each, AttentionBlock)]
    zero = {id(p) for each in blocks for p in each.last_parameters()}
    names = ', '.join(name for name, p in block.named_parameters() if id(p) in zero)
    returned = f'last_parameters() returns {names or "nothing"}'
    for path, module in reversed(list(block.named_modules())):
        missing = {n: p for n, p in module.named_parameters(recurse=False) if id(p) not in zero and p.any()}
        with _zeroed(missing.values()):
            found = _difference(block, x) if missing else 1.0
        if not found:
            likely = ' and '.join(f'self.{path}.{name}'.replace('..', '.') for name in missing)
            return f'{returned}, and most likely lacks {likely}: with zeros there, the map is unchanged'
    return (
        f"{returned}, and no layer with zeros makes the map unchanged. With start='identity' a gate is "
        'self.ceiling * sigmoid(z), which is 1 at z = 0, and last_parameters() are those that make z zero'
    )


@contextmanager
def _zeroed(parameters) -> Iterator[None]:
    values = {p: p.detach().clone() for p in parameters}
    with torch.no_grad():
        for p in values:
            p.zero_()
        try:
            yield
        finally:
            for p, value in values.items():
                p.copy_(value)
