"""What decides the shapes data set, and the marker file in its folder that records it."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

VERSION = 1
"""Raised whenever the same settings would give other pixels or annotations."""

MARKER = 'shapes.json'
"""Name of the file that records what made the data set; it is written last, so the set is whole."""

FIRST_IDS = dict(train=1, val=1_000_001)
"""First id of images and annotations in each split: ids stay apart when the splits are merged."""


@dataclass(frozen=True)
class ShapesSettings:
    """What decides the data set, down to the last byte.

    Args:
        train: Number of training images.
        val: Number of validation images.
        size: Width and height of the images. At 256, objects are small, medium or large by COCO's own
            limits (areas of 32 ** 2 and 96 ** 2); otherwise objects and limits scale with it.
        seed: Another seed gives other images.

    Raises:
        ValueError: A number is out of its range.
    """

    train: int = 1200
    val: int = 200
    size: int = 256
    seed: int = 0

    def __post_init__(self):
        for name, least, most in (
            ('train', 1, 999_999),
            ('val', 1, 999_999),
            ('size', 64, 4096),
            ('seed', 0, 2**63),
        ):
            value = getattr(self, name)
            if not isinstance(value, int) or not least <= value <= most:
                raise ValueError(
                    f'{name}={value!r} of the shapes data set: give a whole number from {least} to {most}'
                )


def made_with(settings: ShapesSettings) -> dict:
    """Return the part of the marker that decides all bytes of the data set."""
    return dict(version=VERSION, settings=asdict(settings))


def read_marker(folder: str | os.PathLike) -> dict | None:
    """Return what the marker in a folder records: None if there is no marker, ``{}`` if it is unreadable."""
    try:
        marker = json.loads((Path(folder) / MARKER).read_text())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError:
        return {}
    return marker if isinstance(marker, dict) else {}
