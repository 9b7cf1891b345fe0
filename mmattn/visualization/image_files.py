"""Which pictures are looked at, and what their files are called."""

from __future__ import annotations

import os
from pathlib import Path

PICTURES = ('.jpg', '.jpeg', '.png', '.ppm', '.bmp', '.pgm', '.tif', '.tiff', '.webp')


def pictures_at(path: str) -> list[str]:
    """A picture, or all that lie in a folder, sorted."""
    if os.path.isdir(path):
        found = sorted(str(each) for each in Path(path).iterdir() if each.suffix.lower() in PICTURES)
        if not found:
            raise ValueError(f"no pictures in '{path}'; looked for {', '.join(PICTURES)}")
        return found
    if not os.path.isfile(path):
        raise FileNotFoundError(f"no picture or folder '{path}'; looked in {os.getcwd()}")
    return [path]


def evenly(items: list, limit: int) -> list:
    """At most ``limit`` of ``items``, evenly spread; all for 0."""
    count = min(limit or len(items), len(items))
    return [items[i * len(items) // count] for i in range(count)]


def file_names(pictures: list[str]) -> list[str]:
    """Of the files: those of the pictures, numbered where two are alike."""
    names: list[str] = []
    for path in pictures:
        stem = name = Path(path).stem
        i = 2
        while name in names:
            name, i = f'{stem}_{i}', i + 1
        names.append(name)
    return names
