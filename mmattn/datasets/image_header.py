"""Read an image's size, EXIF orientation and mode from its header, without decoding it."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from PIL import Image

_ORIENTATION = 0x0112
"""The EXIF tag that says how a camera was held."""
_THREADS = 8
_COMMON = ('JPEG', 'MPO', 'PNG', 'BMP', 'PPM', 'WEBP')
_SERIES = ('TIFF', 'GIF', 'PNG', 'WEBP')
"""Formats of several frames; of phones' photos (MPO), the second is a preview."""
_NO_IMAGES = (
    (b'version https://git-lfs', 'a pointer of Git LFS; fetch the files with `git lfs pull`'),
    (b'<!doctype html', 'a web page'),
    (b'<html', 'a web page'),
    (b'<?xml', 'an XML file'),
    (b'{', 'a JSON file'),
    (b'%pdf', 'a PDF'),
)


class ImageHeader(NamedTuple):
    """What an image's header says.

    Args:
        width: Width as stored, before EXIF turns it.
        height: Height as stored.
        orientation: EXIF's orientation: 1 as stored, 3 turned by 180 degrees, 5 to 8 by 90, 2 and 4 mirrored.
        mode: Pillow's mode, for example ``RGB``, ``L`` or ``I;16``.
        format: Pillow's name of the format.
        frames: Number of frames or pages.
    """

    width: int
    height: int
    orientation: int = 1
    mode: str = 'RGB'
    format: str = 'JPEG'
    frames: int = 1

    @property
    def is_common(self) -> bool:
        """Whether every OpenCV decodes this format."""
        return self.format in _COMMON

    @property
    def is_quarter_turned(self) -> bool:
        """Whether EXIF says to exchange width and height."""
        return self.orientation in (5, 6, 7, 8)


def read_header(image: str | os.PathLike | bytes) -> ImageHeader | None:
    """Return the header of an image file or of its bytes; None if Pillow does not know it."""
    try:
        with Image.open(io.BytesIO(image) if isinstance(image, bytes) else image) as opened:
            orientation = opened.getexif().get(_ORIENTATION, 1)
            known = isinstance(orientation, int) and 1 <= orientation <= 8
            frames = getattr(opened, 'n_frames', 1) if opened.format in _SERIES else 1
            return ImageHeader(
                *opened.size, orientation if known else 1, opened.mode, opened.format or '', frames
            )
    except Exception:  # Pillow's readers raise whatever a damaged header makes them raise
        return None


def read_headers(paths: Sequence[str]) -> list[ImageHeader | None]:
    """Return the headers of image files, read by several threads."""
    # that an image is large or its EXIF odd; set once here, since threads share the filters
    with warnings.catch_warnings(), ThreadPoolExecutor(_THREADS) as pool:
        warnings.simplefilter('ignore')
        return list(pool.map(read_header, paths))


def describe_file(data: bytes) -> str:
    """Say what a file is that cannot be decoded as an image, as far as its first bytes tell."""
    start = data[:64].lstrip().lower()
    for magic, what in _NO_IMAGES:
        if start.startswith(magic):
            return what
    if start[4:8] == b'ftyp':
        brand = start[8:12].decode('latin-1')
        file_type = 'HEIC photo' if brand in ('heic', 'heix', 'mif1', 'msf1') else f'{brand} file'
        return f'a {file_type}; save it as JPEG'
    return 'an empty file' if not data else 'no image that can be decoded'
