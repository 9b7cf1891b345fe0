"""What a study can see: the smallest difference that it would find, and what a smaller one would take.

The parts of the variance are taken from a study as they were estimated. A part that is due to images shrinks
with their number, a part that is due to seeds does not.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from scipy.optimize import brentq
from scipy.special import gdtrix, ndtr

from mmattn.study.statistics.paired import PairedDifference, half_width

POWER = 0.8
MOST_SEEDS = 1000
MOST_IMAGES = 10_000_000
_NODES = 200


@cache
def _spreads(seeds: int) -> np.ndarray:
    """Equally likely values of the variance that seeds will show, over the true one: chi2 / df."""
    df = seeds - 1
    return gdtrix(1.0, df / 2, (np.arange(_NODES) + 0.5) / _NODES) * 2 / df


def power(
    size: float,
    found: PairedDifference,
    images: int,
    seeds: int | None = None,
    new_images: int | None = None,
    level: float = 0.95,
) -> float:
    """Return the probability that a study finds a true difference: its interval lies on that side of zero.

    Args:
        size: The true difference.
        found: A study's difference, whose parts of the variance are taken to be the true ones.
        images: Number of images of that study.
        seeds: Number of seeds of the study that is asked about, as many as found by default.
        new_images: Its number of images, as many as found by default.
        level: Level of its interval.
    """
    seeds, new_images = seeds or found.seeds, new_images or images
    fewer = images / new_images
    own, shared = found.own_images * fewer, found.shared_images * fewer
    groups = max(min(found.groups, new_images), 2)
    if seeds == 1:
        error, half = (own + shared) ** 0.5, half_width(level, 1, groups, 0.0, own, shared)
    else:
        of_seeds = max(found.between_seeds - found.own_images, 0.0)
        between = of_seeds + own
        error = (between / seeds + shared) ** 0.5
        half = half_width(level, seeds, groups, between * _spreads(seeds), own, shared)
    if error == 0:
        return float(size > 0)
    return float(np.mean(ndtr((size - half) / error)))


def detectable(found: PairedDifference, images: int, wanted: float = POWER, level: float = 0.95) -> float:
    """Return the smallest true difference that such a study finds with the wanted probability."""
    high = 20 * found.half_width(level)
    if high == 0:
        return 0.0
    while power(high, found, images, level=level) < wanted:
        high *= 2
    return float(brentq(lambda size: power(size, found, images, level=level) - wanted, 0, high, xtol=1e-9))


def seeds_needed(
    size: float, found: PairedDifference, images: int, wanted: float = POWER, level: float = 0.95
) -> int | None:
    """Return how many seeds find a difference of this size on as many images; None if no number does.

    Two at least: one seed says nothing about new ones.
    """
    return _smallest(
        lambda seeds: power(size, found, images, seeds=seeds, level=level) >= wanted, 2, MOST_SEEDS
    )


def images_needed(
    size: float, found: PairedDifference, images: int, wanted: float = POWER, level: float = 0.95
) -> int | None:
    """Return how many images find a difference of this size with as many seeds; None if no number does."""
    return _smallest(
        lambda number: power(size, found, images, new_images=number, level=level) >= wanted,
        found.groups,
        MOST_IMAGES,
    )


def _smallest(enough: Callable[[int], bool], low: int, most: int) -> int | None:
    """Return the smallest number from ``low`` that is enough, where every larger one is too."""
    high = low
    while not enough(high):
        if high >= most:
            return None
        low, high = high + 1, min(2 * high, most)
    while low < high:
        middle = (low + high) // 2
        if enough(middle):
            high = middle
        else:
            low = middle + 1
    return high
