"""A lock on a folder, so that no two processes work on the same study or run."""

from __future__ import annotations

import os
import re
import signal
import socket
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


class Locked(RuntimeError):
    """Another process has the lock."""


class Lock:
    """A file that one process at a time can lock; the system releases it when the process ends, however.

    It is a POSIX record lock, which also holds between the machines that share a folder by NFS 4.

    Args:
        path: The file; its folder exists.
        what: What is locked, for the error, such as ``'the study in work_dirs/a'``.

    Example:
        >>> import tempfile
        >>> from mmattn.study.lock import Lock
        >>> with tempfile.TemporaryDirectory() as folder, Lock(f'{folder}/lock', 'the folder'):
        ...     'alone'
        'alone'
    """

    def __init__(self, path: str | os.PathLike, what: str):
        self._path = Path(path)
        self._what = what
        self._descriptor: int | None = None

    def __enter__(self) -> Lock:
        if fcntl is None:
            raise RuntimeError('a study needs the file locks of POSIX, which this system lacks')
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            owner = os.pread(descriptor, 1000, 0).decode('utf-8', 'replace').strip()
            os.close(descriptor)
            raise Locked(
                f'{self._what} is being worked on by {owner or "another process"}: wait until it has ended, '
                'or end it'
            ) from None
        os.ftruncate(descriptor, 0)
        text = f'process {os.getpid()} on {socket.gethostname()} since {time.strftime("%Y-%m-%d %H:%M:%S")}\n'
        os.pwrite(descriptor, text.encode(), 0)
        self._descriptor = descriptor
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)


def end_owner(path: str | os.PathLike, seconds: float = 10.0) -> None:
    """End the process that has the lock of a file, if it is one of this machine; wait until it has ended.

    Args:
        path: The file.
        seconds: How long to wait before it is killed.
    """
    found = re.match(r'process (\d+) on (\S+) since', Path(path).read_text()) if is_locked(path) else None
    if not found or found[2] != socket.gethostname():
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.kill(int(found[1]), number)
        end = time.monotonic() + seconds
        while is_locked(path) and time.monotonic() < end:
            time.sleep(0.05)
        if not is_locked(path):
            return


def is_locked(path: str | os.PathLike) -> bool:
    """True if another process has the lock of this file; not to be asked by the one that has it."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        os.lockf(descriptor, os.F_TEST, 0)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False
