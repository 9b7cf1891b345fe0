"""The packages that exporting needs and mmattn does not."""

from __future__ import annotations

from importlib.util import find_spec


def require_packages(*names: str) -> None:
    """Raise ``ModuleNotFoundError`` with what to install, if one of the packages is not there."""
    missing = [name for name in names if find_spec(name) is None]
    if missing:
        raise ModuleNotFoundError(
            f'{", ".join(missing)} is needed here and not installed: pip install "mmattn[deploy]", or '
            f'pip install {" ".join(missing)}'
        )
