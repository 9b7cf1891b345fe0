"""Writing a file so that nothing is lost."""

from __future__ import annotations

import os
from collections.abc import Callable


def write_file(path: str | os.PathLike, write: Callable, overwrite: bool) -> None:
    """Call ``write(file)``; ``path`` is there when all of it is written, or is as it was.

    Raises:
        FileExistsError: It is there already, and ``overwrite`` is false.
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
