"""Draw the pixels of the shapes data set: outlines, textures, colours, backgrounds.

Coordinates are continuous: pixel ``i`` covers ``[i, i + 1)``, as in COCO's boxes and polygons.
Only integer or element-wise arithmetic touches pixels, so they do not depend on thread counts.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable

import cv2
import numpy as np

Colour = tuple[int, int, int]
"""Red, green and blue, each from 0 to 255."""

OVERSAMPLE = 2
"""How much larger than the image its canvas is. Averaging the canvas gives soft edges."""

# cv2.fillPoly takes fixed-point corners; 1/16 of a pixel.
_FRACTION_BITS = 4


def _regular(corners: int, first: float = -90.0) -> np.ndarray:
    angles = np.deg2rad(first + 360.0 * np.arange(corners) / corners)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _star() -> np.ndarray:
    points = _regular(10)
    points[1::2] *= 0.45
    return points


_CROSS = np.array(
    [
        (-1, -3),
        (1, -3),
        (1, -1),
        (3, -1),
        (3, 1),
        (1, 1),
        (1, 3),
        (-1, 3),
        (-1, 1),
        (-3, 1),
        (-3, -1),
        (-1, -1),
    ],
    dtype=float,
)
_BAR = np.array([(-3, -1), (3, -1), (3, 1), (-3, 1)], dtype=float)


def _unit_area(points: np.ndarray) -> np.ndarray:
    x, y = points.T
    area = 0.5 * abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))
    return points / np.sqrt(area)


OUTLINES: dict[str, np.ndarray] = {
    name: _unit_area(points)
    for name, points in dict(
        circle=_regular(40),
        square=_regular(4, first=-45.0),
        triangle=_regular(3),
        star=_star(),
        cross=_CROSS,
        bar=_BAR,
    ).items()
}
"""Corners ``(n, 2)`` of each shape, around the origin and with an area of 1."""


def outline(
    shape: str, centre: tuple[float, float] | np.ndarray, side: float, angle: float, stretch: float = 1.0
) -> np.ndarray:
    """Return the corners ``(n, 2)`` of a shape whose area is ``side ** 2``.

    Args:
        shape: A key of ``OUTLINES``.
        centre: x, y in pixels.
        side: Square root of the area, in pixels.
        angle: Rotation in radians.
        stretch: Width over height before the rotation; it does not change the area.
    """
    points = OUTLINES[shape] * (side * np.sqrt(stretch), side / np.sqrt(stretch))
    cos, sin = np.cos(angle), np.sin(angle)
    return points @ np.array([[cos, sin], [-sin, cos]]) + np.asarray(centre, dtype=float)


def _plain(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.zeros(u.shape, dtype=bool)


def _striped(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return u % 1.0 < 0.5


def _dotted(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return (u % 1.0 - 0.5) ** 2 + (v % 1.0 - 0.5) ** 2 < 0.33**2


def _checked(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return (np.floor(u) + np.floor(v)) % 2 < 1


TEXTURES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = dict(
    plain=_plain, striped=_striped, dotted=_dotted, checked=_checked
)
"""A function for each texture: given coordinates in periods, it returns True where the ink is."""


def blank(size: int) -> np.ndarray:
    """Return an empty canvas ``(size * OVERSAMPLE, size * OVERSAMPLE, 3)``."""
    return np.zeros((size * OVERSAMPLE, size * OVERSAMPLE, 3), dtype=np.uint8)


def finish(canvas: np.ndarray) -> np.ndarray:
    """Return the image ``(size, size, 3)`` of a canvas: the rounded mean of each 2x2 block."""
    total = sum(
        canvas[y::OVERSAMPLE, x::OVERSAMPLE].astype(np.uint16)
        for y in range(OVERSAMPLE)
        for x in range(OVERSAMPLE)
    )
    return ((total + OVERSAMPLE**2 // 2) // OVERSAMPLE**2).astype(np.uint8)


def fill(
    canvas: np.ndarray,
    corners: np.ndarray,
    base: Colour,
    ink: Colour | None = None,
    texture: str = 'plain',
    period: float = 1.0,
    angle: float = 0.0,
) -> None:
    """Fill a polygon with two colours in a texture; parts outside the canvas are cut off.

    Args:
        canvas: Changed in place.
        corners: ``(n, 2)`` in pixels of the image.
        base: The first colour.
        ink: The second colour, which the texture ``'plain'`` has no need of.
        texture: A key of ``TEXTURES``.
        period: Length of one repetition of the texture, in pixels of the image.
        angle: Rotation of the texture in radians.
    """
    points = corners * OVERSAMPLE
    low = np.maximum(np.floor(points.min(axis=0)).astype(int) - 1, 0)
    high = np.minimum(np.ceil(points.max(axis=0)).astype(int) + 1, canvas.shape[1::-1])
    if (high <= low).any():
        return
    # cv2 has pixel centres at whole numbers, we have them at halves
    fixed = np.rint((points - low - 0.5) * 2**_FRACTION_BITS).astype(np.int32)
    mask = np.zeros((high[1] - low[1], high[0] - low[0]), dtype=np.uint8)
    cv2.fillPoly(mask, [fixed], 1, shift=_FRACTION_BITS)
    mask = mask.astype(bool)
    region = canvas[low[1] : high[1], low[0] : high[0]]
    region[mask] = base
    if texture == 'plain':
        return
    y, x = np.nonzero(mask)
    x = (x + low[0] + 0.5) / OVERSAMPLE - corners[:, 0].mean()
    y = (y + low[1] + 0.5) / OVERSAMPLE - corners[:, 1].mean()
    cos, sin = np.cos(angle), np.sin(angle)
    inked = TEXTURES[texture]((x * cos + y * sin) / period, (y * cos - x * sin) / period)
    mask[mask] = inked
    region[mask] = ink


def _rgb(hue: float, saturation: float, value: float) -> Colour:
    return tuple(round(255 * part) for part in colorsys.hsv_to_rgb(hue % 1.0, saturation, value))


def two_colours(rng: np.random.Generator) -> tuple[Colour, Colour]:
    """Return a bright and a dark colour of about the same hue, which is random: it tells nothing."""
    hue = rng.random()
    bright = _rgb(hue, rng.uniform(0.7, 1.0), rng.uniform(0.8, 1.0))
    dark = _rgb(hue + rng.uniform(-0.08, 0.08), rng.uniform(0.6, 1.0), rng.uniform(0.1, 0.3))
    return bright, dark


def paint_background(canvas: np.ndarray, rng: np.random.Generator) -> None:
    """Paint patches of dull colour at three scales, then lines and irregular polygons."""
    size = canvas.shape[0] // OVERSAMPLE
    total = np.zeros((size, size, 3), dtype=np.uint16)
    for cells, share in ((3, 8), (8, 5), (24, 3)):
        grid = rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8)
        # the only interpolation that OpenCV promises to be bit-exact
        soft = cv2.resize(grid, (size, size), interpolation=cv2.INTER_LINEAR_EXACT)
        total += share * soft.astype(np.uint16)
    total //= 16
    # mostly grey: whatever is in front is more colourful, whether it is an object or not
    soft = ((total + total.sum(axis=2, keepdims=True)) // 4).astype(np.uint8)
    canvas[:] = soft.repeat(OVERSAMPLE, axis=0).repeat(OVERSAMPLE, axis=1)
    for _ in range(rng.integers(4, 10)):
        corners = rng.uniform(0, size, 2) + rng.normal(0, size * 0.06, (rng.integers(3, 7), 2))
        fill(canvas, corners, tuple(int(c) for c in rng.integers(0, 256, 3)))
    for _ in range(rng.integers(3, 9)):
        ends = (rng.uniform(-0.1, 1.1, (2, 2)) * size * OVERSAMPLE).astype(int).tolist()
        colour = tuple(int(c) for c in rng.integers(0, 256, 3))
        cv2.line(canvas, ends[0], ends[1], colour, int(rng.integers(1, 4)) * OVERSAMPLE)
