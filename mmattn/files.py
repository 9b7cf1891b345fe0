"""Write files so that each is whole or absent, whatever breaks."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from typing import Any, BinaryIO

PART = '.part'
"""Suffix of a file that is not written yet; before it stands the number of the process that writes it."""

_FULL = (errno.ENOSPC, errno.EDQUOT)
_PART = re.compile(rf'\.(\d+){re.escape(PART)}$')


class DiskFull(OSError):
    """A file was not written because the disk, or the user's quota, is full."""

    def __str__(self) -> str:
        return str(self.strerror)


def write_file(
    path: str | os.PathLike, content: bytes | str | Callable[[BinaryIO], Any], overwrite: bool = True
) -> None:
    """Write a file beside its place, and move it there when all of it is on the disk.

    If anything breaks, the process, the machine or the disk, ``path`` is as it was before.

    Args:
        path: The file. A link is followed; a device or a pipe is written to directly.
        content: Bytes, a text to write as UTF-8, or a function that is called with the open file.
        overwrite: False to refuse to replace a file.

    Raises:
        FileExistsError: If the file exists already and ``overwrite`` is False.
        FileNotFoundError: If its folder does not exist.
        DiskFull: If there is no space left.

    Example:
        >>> import os, tempfile
        >>> from mmattn.files import write_file
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_file(os.path.join(folder, 'a.txt'), 'all of it')
        ...     os.listdir(folder)
        ['a.txt']
    """
    path = os.path.realpath(os.fspath(path))
    require_free(path, overwrite)
    if not os.path.isdir(os.path.dirname(path)):
        raise FileNotFoundError(f"'{path}' cannot be written: there is no folder '{os.path.dirname(path)}'")
    if isinstance(content, str):
        content = content.encode('utf-8')
    try:
        if os.path.exists(path) and not os.path.isfile(path):
            with open(path, 'wb') as file:
                _write(file, content)
        else:
            _replace(path, content)
    except Exception as error:  # PyTorch raises a RuntimeError from the OSError
        if is_disk_full(error):
            raise disk_full(f"'{path}' was not written", os.path.dirname(path)) from error
        raise


def require_free(path: str | os.PathLike, overwrite: bool = False) -> None:
    """Raise ``FileExistsError`` if there is a file that is not to be overwritten."""
    path = os.path.realpath(os.fspath(path))
    if os.path.exists(path) and not overwrite:
        raise FileExistsError(
            f"'{path}' exists already: name another file, or replace it with overwrite=True (--overwrite)"
        )


def _replace(path: str, content: bytes | Callable[[BinaryIO], Any]) -> None:
    part = f'{path}.{os.getpid()}{PART}'
    try:
        with open(part, 'wb') as file:
            _write(file, content)
            file.flush()
            os.fsync(file.fileno())
        if os.path.exists(path):
            shutil.copymode(path, part)
        os.replace(part, path)
    finally:
        with suppress(FileNotFoundError):
            os.remove(part)
    _sync_folder(os.path.dirname(path))


def _write(file: BinaryIO, content: bytes | Callable[[BinaryIO], Any]) -> None:
    if callable(content):
        content(file)
    else:
        file.write(content)


def _sync_folder(folder: str) -> None:
    """Put a new name on the disk too; not every file system can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def is_disk_full(error: BaseException | None) -> bool:
    """True if an error, or what it was raised from, says that there is no space left."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _FULL:
            return True
        error = error.__cause__ or error.__context__
    return False


def disk_full(what: str, folder: str) -> DiskFull:
    """Return the error that tells a user that the disk of ``folder`` is full."""
    with suppress(OSError):
        what += f'; it takes more than the {shutil.disk_usage(folder).free / 2**20:.1f} MB free in {folder}'
    return DiskFull(
        errno.ENOSPC, f'the disk is full: {what}. What was there before is as it was; free some space'
    )


def remove_parts(folder: str | os.PathLike) -> list[str]:
    """Remove what processes that were killed had not written to the end; return the names.

    Files of processes that still run are left alone.
    """
    removed = []
    for name in os.listdir(folder):
        found = _PART.search(name)
        if found and not _is_running(int(found[1])):
            with suppress(FileNotFoundError):
                os.remove(os.path.join(folder, name))
                removed.append(name)
    return removed


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
