"""Split the images into the groups that the jackknife leaves out, one after the other."""

from __future__ import annotations

import numpy as np

MOST_GROUPS = 50
SPLIT_SEED = 0
"""Seed of the random split. All runs of all studies share the split, so that differences are paired."""


def jackknife_groups(images: int, groups: int = MOST_GROUPS, seed: int = SPLIT_SEED) -> np.ndarray:
    """Return each image's group; sizes differ by at most one image.

    Args:
        images: Number of images, at least 2. With fewer images than groups, each image is a group.
        groups: Most groups.
        seed: Seed of the random split.

    Example:
        >>> jackknife_groups(5, groups=2).tolist()
        [1, 0, 0, 0, 1]
    """
    if images < 2:
        raise ValueError(f'{images} image: an interval needs at least 2 images, of which one can be left out')
    if groups < 2:
        raise ValueError(f'{groups} group: the jackknife needs at least 2')
    group = np.empty(images, dtype=np.int64)
    group[np.random.default_rng(seed).permutation(images)] = np.arange(images) % min(groups, images)
    return group


def subsets_of(group: np.ndarray) -> list[np.ndarray]:
    """Return the images that are left without group 0, without group 1, and so on."""
    return [np.flatnonzero(group != each) for each in range(int(group.max()) + 1)]
