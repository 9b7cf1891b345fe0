"""Replace the folder of the shapes data set as a whole, so that a killed run never leaves half of one.

The new set is written to ``NAME.partial``, and renamed when it is complete. While the two change places,
the old set waits as ``NAME.replaced``. Only folders that carry a marker of ours are ever removed.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

from mmattn.datasets.shapes_settings import MARKER, read_marker

PARTIAL_MARKER = '.mmattn-shapes-partial.json'
"""Name of the file that says which process writes a partial folder."""


def replace_folder(out: Path, write: Callable[[Path], None]) -> None:
    """Call ``write(folder)`` on an empty folder, then give it the name ``out``.

    Raises:
        FileExistsError: Another process is writing, or something that is not ours is in the way.
    """
    partial = _new_partial(out)
    try:
        write(partial)
        _swap(partial, out)
    except BaseException:  # also Ctrl-C: leave nothing behind that could look whole
        with contextlib.suppress(OSError):
            _remove(partial)
        restore_folder(out)
        raise


def restore_folder(out: Path) -> None:
    """Undo a swap that was killed after the old data set gave up its name."""
    replaced = _replaced(out)
    if (not out.exists() or is_empty(out)) and read_marker(replaced) is not None:
        _check_no_writer(_partial(out))
        if out.exists():
            out.rmdir()
        replaced.rename(out)


def forget_writer(out: Path) -> None:
    """Remove the note of the process that wrote the folder, which is needed until the swap is over."""
    if (out / PARTIAL_MARKER).exists():
        (out / PARTIAL_MARKER).unlink(missing_ok=True)


def is_empty(folder: Path) -> bool:
    """Return True if ``folder`` is a folder with nothing in it."""
    return folder.is_dir() and not any(folder.iterdir())


def _partial(out: Path) -> Path:
    return out.with_name(out.name + '.partial')


def _replaced(out: Path) -> Path:
    return out.with_name(out.name + '.replaced')


def _new_partial(out: Path) -> Path:
    """Return a new folder beside ``out`` to write in; remove what an interrupted run left there."""
    folder = _partial(out)
    _check_no_writer(folder)
    if folder.exists():
        # empty, or with one of our files: killed before or after it had the partial marker
        ours = (folder / PARTIAL_MARKER).is_file() or {'version', 'settings'} <= (
            read_marker(folder) or {}
        ).keys()
        if not ours and not is_empty(folder):
            raise FileExistsError(
                f"'{folder}' is needed to write in, but this tool did not make it; move it away"
            )
        _remove(folder)
    _make_way(_replaced(out))
    folder.mkdir(parents=True)
    owner = dict(pid=os.getpid(), host=socket.gethostname())
    (folder / PARTIAL_MARKER).write_text(json.dumps(owner))
    return folder


def _check_no_writer(folder: Path) -> None:
    """Raise an error if the process that made a partial folder is still at work."""
    try:
        owner = json.loads((folder / PARTIAL_MARKER).read_text())
    except (OSError, ValueError):  # nobody's, or its maker was killed while writing this file
        return
    if _is_running(owner):
        raise FileExistsError(
            f"process {owner['pid']} on {owner['host']} is writing '{folder}'; "
            'wait for it, or remove that folder if the process is dead'
        )


def _is_running(owner: dict) -> bool:
    if owner['host'] != socket.gethostname():
        return True  # cannot be known from here
    try:
        os.kill(owner['pid'], 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return owner['pid'] != os.getpid()


def _swap(new: Path, out: Path) -> None:
    if out.exists():
        replaced = _replaced(out)
        _make_way(replaced)
        out.rename(replaced)
        new.rename(out)
        _remove(replaced)
    else:
        new.rename(out)


def _make_way(folder: Path) -> None:
    """Remove the folder if it is an old data set of ours; raise an error if it is anything else."""
    if folder.exists():
        if read_marker(folder) is None and not is_empty(folder):
            raise FileExistsError(f"'{folder}' is in the way and not a shapes data set; move it away")
        _remove(folder)


def _remove(folder: Path) -> None:
    """Remove a folder of ours, its markers last: if this is killed, the rest is still known as ours."""
    last = {MARKER: 1, PARTIAL_MARKER: 2}
    for path in sorted(folder.iterdir(), key=lambda path: last.get(path.name, 0)):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    folder.rmdir()
