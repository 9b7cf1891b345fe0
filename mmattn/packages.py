"""The packages that a part of mmattn needs and the rest does not."""

from __future__ import annotations

from importlib.util import find_spec


def require_packages(extra: str, *names: str) -> None:
    """Raise ``ModuleNotFoundError`` with what to install, if one of the packages is not there.

    Args:
        extra: The extra of mmattn that installs them.
        names: Their names for ``import``.
    """
    missing = [name for name in names if find_spec(name) is None]
    if missing:
        raise ModuleNotFoundError(
            f'{", ".join(missing)} is needed here and not installed: pip install "mmattn[{extra}]", or '
            f'pip install {" ".join(name.replace("_", "-") for name in missing)}'
        )
