"""Check that results can be written, before the work that leads to them."""

from __future__ import annotations

import os


def require_writable_folder(folder: str | os.PathLike, what: str) -> None:
    """Raise an ``OSError`` unless files can be written into ``folder``, which need not exist yet.

    Args:
        folder: Path of the folder. Nothing is made there.
        what: The option that it was given by, for example ``'--work-dir'``; the error begins with it.

    Raises:
        NotADirectoryError: If the folder or one above it is a file.
        PermissionError: If this user may not write there.
    """
    _require_writable(os.path.abspath(folder), f'{what} {os.fspath(folder)}')


def require_writable_file(file: str | os.PathLike, what: str) -> None:
    """Raise an ``OSError`` unless ``file`` can be written; its folder need not exist yet.

    Args:
        file: Path of the file.
        what: The option that it was given by; the error begins with it.

    Raises:
        IsADirectoryError: If there is a folder of this name.
        NotADirectoryError: If what should be its folder is a file.
        PermissionError: If this user may not write there.
    """
    asked = f'{what} {os.fspath(file)}'
    if os.path.isdir(file):
        raise IsADirectoryError(f'{asked}: there is a folder of this name, and a file is to be written')
    _require_writable(os.path.dirname(os.path.abspath(file)), asked)


def _require_writable(folder: str, asked: str) -> None:
    while not os.path.exists(folder) and os.path.dirname(folder) != folder:
        folder = os.path.dirname(folder)
    if not os.path.isdir(folder):
        raise NotADirectoryError(f"{asked}: '{folder}' is a file, and a folder is needed")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"{asked}: no permission to write in '{folder}'")
