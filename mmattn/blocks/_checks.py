"""Checks of blocks' options, with errors that say what is possible."""

from __future__ import annotations

import difflib
import inspect
import math
from collections.abc import Iterable
from numbers import Integral, Real

from torch import nn


def check_choice(block: nn.Module, name: str, value, choices: tuple) -> None:
    """Raise ``ValueError`` unless ``value`` is one of ``choices``."""
    if not any(isinstance(value, type(choice)) and value == choice for choice in choices):  # 7.0 is not 7
        raise ValueError(
            f'{type(block).__name__}: {name}={value!r}; possible: {", ".join(map(repr, choices))}'
        )


def check_positive_int(block: nn.Module, name: str, value, odd: bool = False) -> None:
    """Raise ``ValueError`` unless ``value`` is a positive (``odd``) integer."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1 or (odd and not value % 2):
        wanted = 'an odd positive integer' if odd else 'a positive integer'
        raise ValueError(f'{type(block).__name__}: {name}={value!r}; it must be {wanted}')


def hidden_width(block: nn.Module, name: str, reduction: int) -> int:
    """Return ``in_channels // reduction``, the width between two layers, and at least 1.

    The block's own default is taken on narrow maps too. Any other ``reduction`` above the number of channels
    is refused: the official codes would build layers without channels.

    Args:
        block: The block, whose option ``name`` has the value ``reduction``.
    """
    check_positive_int(block, name, reduction)
    channels = block.in_channels
    if reduction > channels and reduction != _default(block, name):
        raise ValueError(
            f'{type(block).__name__}: {name}={reduction!r}; it must be 1 to in_channels={channels}, or no '
            'channel is left between the layers'
        )
    return max(channels // reduction, 1)


def _default(block: nn.Module, name: str):
    parameter = inspect.signature(type(block)).parameters.get(name)  # None: a subclass has another
    return parameter and parameter.default


def check_bool(block: nn.Module, name: str, value) -> None:
    """Raise ``ValueError`` unless ``value`` is True or False: a text such as 'no' would count as True."""
    if not isinstance(value, bool):
        raise ValueError(f'{type(block).__name__}: {name}={value!r}; it must be True or False')


def check_number(block: nn.Module, name: str, value, positive: bool = False) -> None:
    """Raise ``ValueError`` unless ``value`` is a finite (``positive``) number."""
    is_number = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    if not is_number or (positive and value <= 0):
        wanted = 'a positive number' if positive else 'a number'
        raise ValueError(f'{type(block).__name__}: {name}={value!r}; it must be {wanted}')


def check_options(cls: type, options: Iterable[str]) -> None:
    """Raise ``TypeError`` unless the constructor of the block ``cls`` has these options."""
    known = [p for p in inspect.signature(cls).parameters if p not in ('in_channels', 'init_cfg')]
    for name in options:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            raise TypeError(
                f'{cls.__name__} has no option {name!r}'
                + (f'; did you mean {near[0]!r}?' if near else '.')
                + (' Channels are found at the site.' if name == 'in_channels' else '')
                + f' Its options: {", ".join(known)}'
            )


def channel_groups(block: nn.Module, name: str, groups: int | None, default: int) -> int:
    """Return the number of channel groups.

    Args:
        block: The block, whose channels the groups divide.
        name: Name of its option.
        groups: Value of the option; ``None`` takes the greatest common divisor of ``default`` and the
            channels.
        default: Number of groups in the paper.

    Raises:
        ValueError: ``groups`` does not divide the channels.
    """
    channels = block.in_channels
    if groups is None:
        return math.gcd(default, channels)
    check_positive_int(block, name, groups)
    if channels % groups:
        divisors = ', '.join(str(d) for d in range(1, channels + 1) if channels % d == 0)
        raise ValueError(
            f'{type(block).__name__}: {name}={groups!r}; it must divide '
            f'in_channels={channels}, as {divisors} do'
        )
    return groups
