"""Choose the images to show, and name the files written for them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.ppm', '.bmp', '.pgm', '.tif', '.tiff', '.webp')

_Item = TypeVar('_Item')


def images_at(path: str) -> list[str]:
    """Return ``path`` itself if it is a file, or all images in the folder ``path``, sorted.

    Raises:
        FileNotFoundError: If there is no such file or folder.
        ValueError: If the folder has no image.
    """
    if os.path.isdir(path):
        found = sorted(str(each) for each in Path(path).iterdir() if each.suffix.lower() in IMAGE_SUFFIXES)
        if not found:
            raise ValueError(f"no images in '{path}'; looked for {', '.join(IMAGE_SUFFIXES)}")
        return found
    if not os.path.isfile(path):
        raise FileNotFoundError(f"no image or folder '{path}'; looked in {os.getcwd()}")
    return [path]


def evenly_spread(items: Sequence[_Item], limit: int) -> list[_Item]:
    """Return at most ``limit`` of ``items``, evenly spread over them; all of them if ``limit`` is 0."""
    count = min(limit or len(items), len(items))
    return [items[i * len(items) // count] for i in range(count)]


def output_names(images: Sequence[str]) -> list[str]:
    """Return a name for each image's output files: the image's own, with a suffix for duplicates.

    Example:
        >>> output_names(['a/x.jpg', 'b/x.png', 'b/y.png'])
        ['x', 'x_2', 'y']
    """
    names: list[str] = []
    for path in images:
        stem = name = Path(path).stem
        i = 2
        while name in names:
            name, i = f'{stem}_{i}', i + 1
        names.append(name)
    return names
