"""COCO's average precision of detections known as true or false, on all images and in the jackknife."""

from __future__ import annotations

import numpy as np

_RECALLS = np.linspace(0, 1, 101)


def average_precision(
    classes: np.ndarray, scores: np.ndarray, true: np.ndarray, group: np.ndarray, objects: np.ndarray
) -> np.ndarray:
    """Return the mean over classes of the average precision: on all images, then without each group.

    Args:
        classes: The class of each detection.
        scores: Its confidence. Of equal ones the first in the arrays counts as the higher.
        true: Whether it is true.
        group: The jackknife group of its image.
        objects: How many objects of each class there are to find, on all images and without each group,
            (classes, 1 + groups). A class without objects does not count.

    Example:
        >>> one = np.ones(2, dtype=int)
        >>> average_precision(0 * one, np.array([.9, .8]), np.array([True, False]), np.array([0, 1]),
        ...                   np.array([[2, 1, 1]])).round(3).tolist()
        [0.505, 0.0, 1.0]
    """
    order = np.lexsort((-scores, classes))
    starts = np.searchsorted(classes[order], np.arange(len(objects) + 1))
    without = np.arange(-1, objects.shape[1] - 1)[:, None]
    each = np.full(objects.shape, np.nan)
    for number in np.flatnonzero(objects.any(axis=1)):
        chosen = order[starts[number] : starts[number + 1]]
        each[number] = _of_class(true[chosen], group[chosen] != without, objects[number])
    defined = (objects > 0).sum(axis=0)
    with np.errstate(invalid='ignore'):
        return np.where(defined > 0, np.nansum(each, axis=0) / defined, np.nan)


def _of_class(true: np.ndarray, counts: np.ndarray, objects: np.ndarray) -> np.ndarray:
    """Return the average precision of a class; ``counts`` says which detections count, (subsets, detections).

    Precision has its maxima at true detections, and recall grows only there: no other matters.
    """
    at = np.flatnonzero(true)
    found = np.cumsum(counts[:, at], axis=1)
    precision = found / (np.cumsum(counts, axis=1)[:, at] + np.spacing(1))
    highest = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    highest = np.concatenate([highest, np.zeros((len(highest), 1))], axis=1)  # where recall is not reached
    values = np.full(len(objects), np.nan)
    for subset in np.flatnonzero(objects):
        reached = np.searchsorted(found[subset] / objects[subset], _RECALLS)
        values[subset] = highest[subset, reached].mean()
    return values
