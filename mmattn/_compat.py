"""Checks that the OpenMMLab packages are installed, and says what to install if they are not.

The OpenMMLab packages come in two families that import under the same names: upstream (mmengine,
mmcv, mmdet) and the maintained forks (onedl-*). So mmattn requires neither by name and checks here
instead, by metadata alone: nothing heavy is imported. ``tools/doctor.py`` loads this file by its path,
where mmattn may not be importable, so nothing but the standard library may be imported here.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from types import ModuleType

# Import name -> distributions that provide it, the recommended one first.
PROVIDERS = {
    'mmengine': ('onedl-mmengine', 'mmengine', 'mmengine-lite'),
    'mmcv': ('onedl-mmcv', 'mmcv', 'mmcv-lite', 'mmcv-full'),
    'mmdet': ('onedl-mmdetection', 'mmdet'),
}


def installed(module: str) -> dict[str, str]:
    """Return the installed distributions that provide ``module``, as ``{name: version}``."""
    return versions(PROVIDERS[module])


def versions(distributions: Iterable[str]) -> dict[str, str]:
    """Return the version of each of these distributions that is installed."""
    found = {}
    for name in distributions:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            pass
    return found


def importable(module: str) -> bool:
    """Return True if ``module`` can be found; it is not imported."""
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def missing_message(module: str, needed_by: str) -> str:
    """Return an error message that says what to install to get ``module``."""
    return (
        f'{needed_by} needs {module}, which is not installed. Install one family of the OpenMMLab '
        'packages, not both:\n'
        "  pip install 'mmattn[onedl]'       the maintained forks (recommended); this compiles mmcv's ops, "
        'see docs/install.md for how to do that fast\n'
        "  pip install 'mmattn[openmmlab]'   the upstream packages, if there is a build of mmcv for your "
        'PyTorch\n'
        'In a checkout of mmattn, `make setup` does all of it.'
    )


def clash_message(module: str) -> str | None:
    """Return what to do if two distributions provide ``module``, or ``None`` if at most one does."""
    found = installed(module)
    if len(found) < 2:
        return None
    listed = ' and '.join(f'{name} {number}' for name, number in found.items())
    keep = next(iter(found))
    return (
        f"{listed} are both installed and overwrite each other's files: `import {module}` gives a mixture "
        'of the two. Remove both and install one again:\n'
        f'  pip uninstall -y {" ".join(found)} && pip install {keep}=={found[keep]}'
    )


def require(module: str, needed_by: str) -> None:
    """Raise ``ImportError`` with instructions unless ``module`` is installed.

    Args:
        module: ``'mmengine'``, ``'mmcv'`` or ``'mmdet'``.
        needed_by: The part of mmattn that needs it, for the message.
    """
    if not importable(module):
        raise ImportError(missing_message(module, needed_by))


def optional(module: str) -> ModuleType | None:
    """Import ``module``; return ``None`` if it needs mmdet or mmcv and that is not installed.

    Args:
        module: Full name, such as ``'mmdet.models'``.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or '').partition('.')[0] not in ('mmdet', 'mmcv'):
            raise
        return None


def check() -> None:
    """Require MMEngine, and warn if two distributions provide the same package.

    ``import mmattn`` calls this. mmcv and mmdet are not required: blocks and ops work without them.
    """
    require('mmengine', 'mmattn')
    for module in PROVIDERS:
        message = clash_message(module)
        if message:
            warnings.warn(message, stacklevel=3)
