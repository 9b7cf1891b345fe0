"""Checks of hooks' options, with errors that name the hook and what is possible."""

from __future__ import annotations

import math
from typing import Any

from mmengine.hooks import Hook

from mmattn.wanted import is_number


def require(hook: Hook, name: str, value: Any, fits: bool, wanted: str) -> None:
    """Raise ``ValueError`` unless ``fits``."""
    if not fits:
        raise ValueError(f'{type(hook).__name__}: {name}={value!r}; it must be {wanted}')


def require_bool(hook: Hook, name: str, value: Any) -> None:
    """Raise ``ValueError`` unless ``value`` is True or False: a text such as 'no' would count as True."""
    require(hook, name, value, isinstance(value, bool), 'True or False')


def is_between(value: Any, least: float, most: float = math.inf) -> bool:
    """True for a finite number in a range."""
    return is_number(value) and math.isfinite(value) and least <= value <= most
