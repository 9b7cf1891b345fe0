"""How much `attach` logs: a line per site, or one line in all."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

from mmengine.logging import print_log
from torch import nn

_BRIEF = ContextVar('mmattn_brief_log', default=False)


@contextmanager
def brief_log() -> Iterator[None]:
    """Make :func:`~mmattn.attach` log one summary line, and its line per site at debug level.

    Example:
        >>> from mmdet.models import ResNet
        >>> from mmattn import attach
        >>> from mmattn.insertion import brief_log
        >>> with brief_log():
        ...     _ = attach(ResNet(18), dict(at='layer4', block=dict(type='mmattn.SE')))
    """
    token = _BRIEF.set(True)
    try:
        yield
    finally:
        _BRIEF.reset(token)


def is_brief() -> bool:
    """True inside :func:`brief_log`."""
    return _BRIEF.get()


def log_insertion(inserted: Sequence[tuple[str, nn.Module, bool]]) -> None:
    """Log what was inserted.

    Args:
        inserted: Name of the site, block, and True if the block is frozen.
    """
    brief = is_brief()
    sites: Counter[str] = Counter()
    total = 0
    for site, block, frozen in inserted:
        name, parameters = type(block).__name__, sum(p.numel() for p in block.parameters())
        sites[name] += 1
        total += parameters
        print_log(
            f'attention: {site} -> {name}({block.extra_repr()}), {parameters:,} parameters'
            + (', frozen' if frozen else ''),
            logger='current',
            level=logging.DEBUG if brief else logging.INFO,
        )
    if brief:
        listed = ', '.join(f'{name} at {n} site{"s" * (n > 1)}' for name, n in sites.items())
        print_log(f'attention: {listed}, {total:,} parameters', logger='current')


def log_frozen_stages(paths: Sequence[str], recomputed: bool) -> None:
    """Say that gradients of attention pass these frozen stages, what that costs, and what else there is."""
    many = len(paths) > 1
    they, them, their, are = ('they', 'them', 'their', 'are') if many else ('it', 'it', 'its', 'is')
    text = (
        f'{they} {are} computed again in the backward pass. recompute=False keeps {their} activations '
        'instead, with more memory'
        if recomputed
        else f'{their} activations are now kept. recompute=True computes {them} again in the backward pass '
        'instead, with less memory'
    )
    print_log(
        f'attention trains in the frozen stage{"s" * many} {", ".join(paths)}: gradients pass through '
        f'{them}, and {text}. Attention costs neither where it is left out (at=...)',
        logger='current',
    )
