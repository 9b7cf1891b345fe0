"""Attention for MMDetection detectors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmattn import _compat
from mmattn.version import __version__

if TYPE_CHECKING:
    from mmattn.insertion import attach, detach, sites

__all__ = ['__version__', 'attach', 'detach', 'sites']

_compat.check()


def __getattr__(name: str) -> Any:
    # Imported on first use: `import mmattn`, by which MMEngine finds the registries, stays light, and
    # mmattn.ops and mmattn.blocks need no mmdet.
    if name in ('attach', 'detach', 'sites'):
        from mmattn import insertion

        return getattr(insertion, name)
    raise AttributeError(f"module 'mmattn' has no attribute {name!r}")
