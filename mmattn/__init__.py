"""Attention for MMDetection detectors."""

from mmattn import _compat
from mmattn.version import __version__

__all__ = ['__version__', 'attach', 'detach', 'sites']

_compat.check()


def __getattr__(name):
    # Late, so that `import mmattn`, which MMEngine does to find the registries, stays light, and
    # mmattn.ops and mmattn.blocks can be imported without mmdet.
    if name in ('attach', 'detach', 'sites'):
        from mmattn import insertion

        return getattr(insertion, name)
    raise AttributeError(f"module 'mmattn' has no attribute {name!r}")
