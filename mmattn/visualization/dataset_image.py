"""Read an image of a data set as its pipeline decodes it, in colours to be drawn on."""

from __future__ import annotations

import os

import numpy as np

from mmattn.engine.data.image_loader import ImageLoader
from mmattn.engine.data.sources import Source


def dataset_image(source: Source, name: str) -> np.ndarray:
    """Return an image of a data set as 8-bit RGB ``(h, w, 3)``.

    Args:
        source: The data set.
        name: File name of the image in its annotations.

    Raises:
        ValueError: If the file cannot be read or decoded.
    """
    loader = source.loader or ImageLoader('')
    pixels = loader.decode(os.path.join(source.folder, name))
    if pixels.dtype != np.uint8:
        pixels = (pixels / max(1, pixels.max()) * 255).astype(np.uint8)
    if pixels.ndim == 2:
        pixels = pixels[..., None].repeat(3, 2)
    return np.ascontiguousarray(pixels[..., 2::-1])  # OpenCV has BGR
