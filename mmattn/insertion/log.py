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


def log_insertion(inserted: Sequence[tuple[str, nn.Module, bool]]) -> None:
    """Log what was inserted.

    Args:
        inserted: Name of the site, block, and True if the block is frozen.
    """
    brief = _BRIEF.get()
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
