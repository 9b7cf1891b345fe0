"""Classes made of a mixin and a module's own class, for modules that get another forward pass."""

from __future__ import annotations

from typing import Any

from torch import nn

_CLASSES: dict[tuple[type, type, str], type] = {}


def mixed_class(mixin: type, cls: type, suffix: str) -> type:
    """Return the subclass of ``mixin`` and ``cls``; it is made once."""
    key = mixin, cls, suffix
    if key not in _CLASSES:
        _CLASSES[key] = type(f'{cls.__name__}{suffix}', (mixin, cls), {'__module__': cls.__module__})
    return _CLASSES[key]


def is_mixed(module: nn.Module, mixin: type) -> bool:
    """True if the class of ``module`` is still the one that :func:`mixed_class` made with ``mixin``."""
    return issubclass(type(module).__bases__[0], mixin) and type(module) in _CLASSES.values()


def reduce_mixed(module: nn.Module, suffix: str) -> tuple[Any, tuple, dict]:
    """What ``__reduce_ex__`` returns: pickle cannot import such a class, and rebuilds it from its parts."""
    mixin, cls = type(module).__bases__
    return _rebuild, (mixin, cls, suffix), module.__dict__


def _rebuild(mixin: type, cls: type, suffix: str) -> nn.Module:
    mixed = mixed_class(mixin, cls, suffix)
    return mixed.__new__(mixed)
