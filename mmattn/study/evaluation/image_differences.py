"""Find the images on which two variants differ most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ImageDifference:
    """One image, and how well two variants do on it.

    Args:
        image: Its number, in the order of the ids in the annotation file.
        variant: The variant's AP on this image alone, over its classes and IoU thresholds, mean over seeds.
        control: The control's.
        seeds: Number of seeds that have both.
        seed: The seed whose own difference is the nearest to the mean, which serves as an example.
    """

    image: int
    variant: float
    control: float
    seeds: int
    seed: int

    @property
    def difference(self) -> float:
        """Variant minus control."""
        return self.variant - self.control


def most_different_images(
    variant: np.ndarray, control: np.ndarray, seeds: Sequence[int], number: int = 5
) -> list[ImageDifference]:
    """Return the images on which a variant gains most and those on which it loses most.

    The largest difference, of either direction, comes first.

    An image's score is COCO's AP of that image alone: over the classes that have an object in it. So false
    detections of other classes do not count, and an image without objects has no score. It shows where to
    look; the mean over images is not the AP of the data set.

    Args:
        variant: The AP of each image alone, (seeds, images), NaN where it is not defined.
        control: The same of the control; seeds are paired.
        seeds: The seeds.
        number: Most images of each direction.

    Example:
        >>> a, b = np.array([[.5, .2, np.nan]]), np.array([[.4, .9, np.nan]])
        >>> [(each.image, round(each.difference, 3)) for each in most_different_images(a, b, [0])]
        [(1, -0.7), (0, 0.1)]
    """
    both = ~np.isnan(variant) & ~np.isnan(control)
    paired = both.sum(axis=0)
    there = np.flatnonzero(paired)
    of_variant, of_control = (
        np.where(both, each, 0.0).sum(axis=0)[there] / paired[there] for each in (variant, control)
    )
    difference = of_variant - of_control
    order = np.lexsort([-np.abs(difference)])
    gained, lost = (order[sign * difference[order] > 0][:number] for sign in (1, -1))
    chosen = sorted([*gained, *lost], key=list(order).index)
    return [
        ImageDifference(
            int(there[each]),
            float(of_variant[each]),
            float(of_control[each]),
            int(paired[there[each]]),
            seeds[_nearest(variant[:, there[each]] - control[:, there[each]], difference[each])],
        )
        for each in chosen
    ]


def _nearest(values: np.ndarray, mean: float) -> int:
    """Return the index of the value that is the nearest to the mean; NaN is none."""
    return int(np.nanargmin(np.abs(values - mean)))
