"""Which classes and functions a checkpoint file names, found without loading it."""

from __future__ import annotations

import io
import pickletools
import tarfile
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections import Counter
from typing import BinaryIO

PICKLES_OF_LEGACY = 5
"""torch.save wrote this many pickles in a row before PyTorch 1.6, then the storages' bytes."""
_SOME_NAME = 'a name that the file computes'
_MARK = object()
_ZIP = b'PK\x03\x04'


class NotACheckpoint(ValueError):
    """A file that is damaged, cut off, or no checkpoint of PyTorch's."""


def pickled_names(file: BinaryIO) -> set[str]:
    """Return what the checkpoint ``file`` names, such as ``'collections.OrderedDict'``.

    Both formats of ``torch.save`` are read: the zip archive, and the pickles in a row of before PyTorch 1.6.

    Args:
        file: A checkpoint, open for reading.

    Raises:
        NotACheckpoint: It is in neither format; it holds a program of TorchScript, or is ambiguous.
    """
    file.seek(0)
    if file.read(4) == _ZIP:  # by which PyTorch tells, too
        return _names_in_zip(file)
    file.seek(0)
    try:
        tarfile.open(fileobj=file, mode='r:').close()
    except tarfile.TarError:
        pass
    else:
        raise NotACheckpoint('it is a tar archive, which PyTorch has not written since 2016')
    file.seek(0)
    names: set[str] = set()
    for _ in range(PICKLES_OF_LEGACY):
        names |= names_in_pickle(file)
    return names


def _names_in_zip(file: BinaryIO) -> set[str]:
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.namelist()
            _require_one_reading(entries)
            (pickled,) = (name for name in entries if name.partition('/')[2] == 'data.pkl')
            entry = archive.getinfo(pickled)
            if not any(each.CRC for each in archive.infolist()):
                del entry.CRC  # saved without checksums: there is nothing that zipfile could compare
            return names_in_pickle(io.BytesIO(archive.read(entry)))
    except zipfile.BadZipFile as error:
        raise NotACheckpoint(f'it is cut off or damaged ({error})') from error


def _require_one_reading(entries: list[str]) -> None:
    """Raise unless every reader of zip archives finds the same pickle among these entries."""
    twice = [name for name, count in Counter(entries).items() if count > 1]
    if twice:
        raise NotACheckpoint(f"its archive has two entries of the name '{twice[0]}'")
    parts = [name.partition('/')[2] for name in entries]
    if 'constants.pkl' in parts:
        raise NotACheckpoint('it is a program of TorchScript, not weights')
    if parts.count('data.pkl') != 1:
        raise NotACheckpoint(
            f'its archive has {parts.count("data.pkl")} entries data.pkl, where torch.save writes one'
        )


def names_in_pickle(file: BinaryIO) -> set[str]:
    """Return what the pickle names that starts here; ``file`` stands behind it then.

    The pickle's stack and memo are followed only as far as strings go, of which ``STACK_GLOBAL`` makes names.

    Raises:
        NotACheckpoint: It is no pickle, is cut off, or is of a protocol that ``torch.save`` does not write.
    """
    names: set[str] = set()
    stack: list = []
    memo: dict[int, object] = {}
    try:
        for opcode, value, _ in pickletools.genops(file):
            name = opcode.name
            if name in ('GLOBAL', 'INST'):
                names.add(_python_3_name(*value.partition(' ')[::2]))
            elif name == 'STACK_GLOBAL':
                parts = stack[-2:]
                known = len(parts) == 2 and all(isinstance(part, str) for part in parts)
                names.add(_python_3_name(*parts) if known else _SOME_NAME)
            elif name.startswith('EXT'):
                names.add(f'the extension {value} of copyreg')
            if name in ('PUT', 'BINPUT', 'LONG_BINPUT'):
                memo[value] = stack[-1]
            elif name == 'MEMOIZE':
                memo[len(memo)] = stack[-1]
            elif name in ('GET', 'BINGET', 'LONG_BINGET'):
                stack.append(memo.get(value))
            elif name == 'DUP':
                stack.append(stack[-1])
            elif name == 'MARK':
                stack.append(_MARK)
            else:
                _pop(stack, opcode.stack_before)
                pushed = value if isinstance(value, str) else None
                stack += [pushed] * len(opcode.stack_after)
    except (ValueError, IndexError, EOFError, OverflowError) as error:
        raise NotACheckpoint(f'it is cut off, damaged, or no checkpoint of PyTorch ({error})') from error
    return names


def _pop(stack: list, before: list) -> None:
    """Take what an operation needs from the stack; down to the mark where it needs a slice."""
    if pickletools.markobject in before:
        while stack.pop() is not _MARK:
            pass
        before = before[: before.index(pickletools.markobject)]
    if before:
        del stack[-len(before) :]


def _python_3_name(module: str, name: str) -> str:
    """The name as Python 3 imports it, from a pickle whose protocol names what Python 2 had."""
    module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
    return f'{module}.{name}'
