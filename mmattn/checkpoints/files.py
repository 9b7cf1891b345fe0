"""Write a file completely or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import BinaryIO


def write_file(path: str | os.PathLike, write: Callable[[BinaryIO], object], overwrite: bool) -> None:
    """Write a file with ``write(file)``, and give it its name when it is complete.

    If ``write`` raises an error, ``path`` stays as it was.

    Args:
        path: Path of the file.
        write: Writes to the open file that it is given.
        overwrite: Replace an existing file.

    Raises:
        FileExistsError: ``path`` exists, and ``overwrite`` is false.
    """
    path = os.fspath(path)
    if os.path.exists(path) and not overwrite:
        raise FileExistsError(
            f"'{path}' exists already: name another file, or replace it with overwrite=True (--overwrite)"
        )
    part = f'{path}.{os.getpid()}.part'
    try:
        with open(part, 'wb') as file:
            write(file)
        os.replace(part, path)
    finally:
        if os.path.exists(part):
            os.remove(part)
