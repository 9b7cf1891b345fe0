"""The generated data set "shapes": COCO format, the same bytes for the same settings, no network.

Layout, as for any COCO-format folder::

    shapes/
      images/train/000001.png ...   images/val/000001.png ...
      annotations/train.json        annotations/val.json
      shapes.json                   what made it; its presence says that the set is whole
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TextIO

from mmattn.datasets.shapes_files import find_damage, write_files
from mmattn.datasets.shapes_folder import forget_writer, is_empty, replace_folder, restore_folder
from mmattn.datasets.shapes_settings import MARKER, ShapesSettings, made_with, read_marker


def make_shapes(
    out: str | os.PathLike,
    settings: ShapesSettings | None = None,
    force: bool = False,
    workers: int | None = None,
    file: TextIO | None = None,
) -> bool:
    """Write the data set to a folder, unless it is already there.

    It is written beside ``out`` and renamed at the end, so ``out`` is never half a data set.

    Args:
        out: The folder. It may be absent or empty.
        settings: What to draw; the defaults of :class:`ShapesSettings` if it is None.
        force: Replace a shapes data set that has other settings or is damaged. Anything else in ``out``
            is never replaced.
        workers: Number of processes that draw; by default one per processor, four at most, and fewer for
            few images. It changes nothing in the result.
        file: Where the progress bar goes; standard output by default.

    Returns:
        True if the data set was written, False if it was there already.

    Raises:
        FileExistsError: ``out`` holds something else, or another process is writing to it.
    """
    out = Path(os.path.abspath(out))
    settings = settings or ShapesSettings()
    restore_folder(out)
    needed = _needs_writing(out, settings, force)
    if needed:
        replace_folder(out, lambda folder: write_files(folder, settings, workers, file))
    # only now, so that a run killed in the swap leaves a partial folder that is known as ours
    forget_writer(out)
    return needed


def _needs_writing(out: Path, settings: ShapesSettings, force: bool) -> bool:
    if not out.exists() or is_empty(out):
        return True
    marker = read_marker(out)
    if marker is None:
        raise FileExistsError(
            f"'{out}' exists and is not a shapes data set (it has no {MARKER}), so it is left alone; "
            'give another folder, or remove it yourself'
        )
    wanted = made_with(settings)
    found = {key: marker.get(key) for key in wanted}
    if found == wanted:
        damage = find_damage(out, settings, marker)
        if damage is None:
            return False
        if not force:
            raise FileExistsError(
                f"the shapes data set in '{out}' is damaged: {damage}; "
                'replace it with tools/make_shapes.py --force'
            )
    elif not force:
        raise FileExistsError(
            f"'{out}' holds a shapes data set made with {_in_words(found)}, but you ask for "
            f'{_in_words(wanted)}; give another folder, or replace it with tools/make_shapes.py --force'
        )
    return True


def _in_words(made: dict) -> str:
    settings = made['settings'] or {}
    return ' '.join([f'version={made["version"]}', *(f'{key}={value}' for key, value in settings.items())])
