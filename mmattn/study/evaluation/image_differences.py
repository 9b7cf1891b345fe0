"""Find the images on which two variants differ most."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ImageDifference:
    """One image, and how well two variants do on it.

    Args:
        image: Its number, in the order of the ids in the annotation file.
        variant: The variant's AP on this image alone, over its classes and IoU thresholds, mean over seeds.
        control: The control's.
        seeds: Seeds that have both.
    """

    image: int
    variant: float
    control: float
    seeds: int

    @property
    def difference(self) -> float:
        """Variant minus control."""
        return self.variant - self.control


def most_different_images(
    variant: np.ndarray, control: np.ndarray, number: int = 10
) -> list[ImageDifference]:
    """Return the images on which a variant gains or loses most, the largest difference first.

    An image's score is COCO's AP of that image alone: over the classes that have an object in it. So false
    detections of other classes do not count, and an image without objects has no score. It shows where to
    look; the mean over images is not the AP of the data set.

    Args:
        variant: The AP of each image alone, (seeds, images), NaN where it is not defined.
        control: The same of the control; seeds are paired.
        number: Most images.

    Example:
        >>> a, b = np.array([[.5, .2, np.nan]]), np.array([[.4, .9, np.nan]])
        >>> [(each.image, round(each.difference, 3)) for each in most_different_images(a, b)]
        [(1, -0.7), (0, 0.1)]
    """
    both = ~np.isnan(variant) & ~np.isnan(control)
    seeds = both.sum(axis=0)
    there = np.flatnonzero(seeds)
    of_variant, of_control = (
        np.where(both, each, 0.0).sum(axis=0)[there] / seeds[there] for each in (variant, control)
    )
    order = np.lexsort([-np.abs(of_variant - of_control)])[:number]
    return [
        ImageDifference(
            int(there[each]), float(of_variant[each]), float(of_control[each]), int(seeds[there[each]])
        )
        for each in order
        if of_variant[each] != of_control[each]
    ]
