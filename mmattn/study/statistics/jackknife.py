"""Covariance of metrics due to the choice of images, from the same metrics with groups of images left out."""

from __future__ import annotations

import numpy as np


def jackknife_covariance(left_out: np.ndarray) -> np.ndarray:
    """Return the jackknife's estimate of the covariance of several metrics of the same images.

    Args:
        left_out: The metrics with one group of images left out, (runs, groups); groups have about equal size.

    Returns:
        (runs, runs).
    """
    groups = left_out.shape[-1]
    centred = left_out - left_out.mean(-1, keepdims=True)
    return (groups - 1) / groups * centred @ centred.T
