"""Find out whether the file of a checkpoint is whole, and which one to resume from if it is not."""

from __future__ import annotations

import logging
import os
import re
import zipfile

from mmengine.logging import print_log

LAST = 'last_checkpoint'
"""File of a work directory in which ``CheckpointHook`` names its last checkpoint."""


def damage_of(path: str) -> str | None:
    """Return what is wrong with the file of a checkpoint, such as ``'is cut off'``; None if it is whole.

    All of the file is read, and compared with the checksums in it. Files of PyTorch before 1.6 have none,
    nor those that were saved without: they are taken to be whole.
    """
    if not os.path.isfile(path):
        return 'does not exist'
    with open(path, 'rb') as file:
        head = file.read(4)
    if not head:
        return 'is empty'
    if head != b'PK\x03\x04':
        return None if head[:1] == b'\x80' else 'is no file of PyTorch'
    try:
        with zipfile.ZipFile(path) as file:
            if not any(entry.CRC for entry in file.infolist()):
                return None  # torch.serialization.set_crc32_options(False)
            broken = file.testzip()
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError):
        return 'is cut off'
    return broken and f'is damaged: {broken} in it does not have its checksum'


def checkpoint_to_resume(work_dir: str) -> str | None:
    """Return the last checkpoint of a work directory that is whole; None if the run has saved none.

    If the last one is damaged, that is logged, and the one before it is returned.

    Raises:
        ValueError: If there were checkpoints and none is whole.
    """
    try:
        with open(os.path.join(work_dir, LAST), encoding='utf-8') as file:
            named = file.read().strip()
    except FileNotFoundError:
        return None
    if named:
        named = named if os.path.isfile(named) else os.path.join(work_dir, os.path.basename(named))
    damage = damage_of(named) if named else None
    if named and damage is None:
        return named
    text = f'{work_dir}/{LAST} names no checkpoint'
    if named:
        text = f'{named}, which {work_dir}/{LAST} names, {damage}'
    for path in checkpoints_before(named, work_dir):
        if damage_of(path) is None:
            print_log(
                f'--resume: {text}. Training goes on from the one before: {path}', 'current', logging.WARNING
            )
            return path
    raise ValueError(
        f'--resume: {text}, and no checkpoint before it is whole. Start without --resume, or name '
        'a checkpoint'
    )


def checkpoints_before(path: str, work_dir: str = '') -> list[str]:
    """Return the checkpoints of a run before one of them, the latest first; of ``''``, all."""
    match = re.fullmatch(r'(.*?)(\d+)\.pth', os.path.basename(path))
    folder = os.path.dirname(path) if path else work_dir
    if path and not match or not os.path.isdir(folder or '.'):
        return []
    pattern = re.compile(rf'{re.escape(match[1]) if match else "(?:epoch|iter)_"}(\d+)\.pth')
    found = [(int(each[1]), each[0]) for each in map(pattern.fullmatch, os.listdir(folder or '.')) if each]
    end = int(match[2]) if match else float('inf')
    return [os.path.join(folder, name) for number, name in sorted(found, reverse=True) if number < end]
