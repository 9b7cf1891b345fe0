"""Match detections with objects at an IoU of 0.5, and find out what is wrong with the false ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pycocotools import mask as coco_mask

from mmattn.study.evaluation.detections import Detections
from mmattn.study.evaluation.ground_truth import GroundTruth
from mmattn.study.evaluation.metrics import MAX_DETECTIONS

FOREGROUND, BACKGROUND = 0.5, 0.1
"""TIDE's thresholds: from the first on a detection fits an object, up to the second it fits none."""


@dataclass(eq=False)
class Matches:
    """What became of the detections that COCO counts: the 100 best of each class in each image.

    Args:
        images: The image of each, ascending.
        classes: The class of each.
        scores: The confidence of each.
        types: ``'true'``, ``'ignored'`` (excused by a crowd), or a type of mistake.
        mended_class: The class that it would be a true detection of if its mistake were mended, else -1.
        missed: For each object, whether it was missed.
    """

    images: np.ndarray
    classes: np.ndarray
    scores: np.ndarray
    types: np.ndarray
    mended_class: np.ndarray
    missed: np.ndarray


def match_images(truth: GroundTruth, detections: Detections) -> Matches:
    """Match as COCO does, image by image. The types are defined in :func:`~.mistakes.count_mistakes`."""
    chosen = _best_of_class(detections)
    images, classes = detections.images[chosen], detections.classes[chosen]
    scores = detections.scores[chosen]
    types = np.full(len(chosen), 'background', dtype='<U14')
    mended_class = np.full(len(chosen), -1)
    missed = ~truth.crowd
    objects = np.lexsort([truth.images])
    all_images = np.arange(len(truth.image_ids) + 1)
    bounds = zip(
        np.searchsorted(images, all_images[:-1]),
        np.searchsorted(images, all_images[1:]),
        np.searchsorted(truth.images[objects], all_images[:-1]),
        np.searchsorted(truth.images[objects], all_images[1:]),
    )
    for first, last, first_object, last_object in bounds:
        if first == last or first_object == last_object:
            continue
        here, there = slice(first, last), objects[first_object:last_object]
        there = there[np.lexsort([truth.crowd[there]])]  # crowds last, as COCO tries them
        overlap = coco_mask.iou(
            _shapes(detections, chosen[here]), _shapes(truth, there), truth.crowd[there].astype(int).tolist()
        )
        types[here], mended_class[here], missed[there] = _match_image(
            overlap, classes[here], scores[here], truth.classes[there], truth.crowd[there]
        )
    return Matches(images, classes, scores, types, mended_class, missed)


def _best_of_class(detections: Detections) -> np.ndarray:
    """Return the detections that count, by image, then class, then falling confidence."""
    order = np.lexsort((-detections.scores, detections.classes, detections.images))
    images, classes = detections.images[order], detections.classes[order]
    new = np.ones(len(order), dtype=bool)
    new[1:] = (images[1:] != images[:-1]) | (classes[1:] != classes[:-1])
    numbers = np.arange(len(order))
    rank = numbers - np.maximum.accumulate(np.where(new, numbers, 0))
    return order[rank < MAX_DETECTIONS[-1]]


def _shapes(what: GroundTruth | Detections, chosen: np.ndarray) -> np.ndarray | list[dict]:
    return what.boxes[chosen] if what.masks is None else [what.masks[each] for each in chosen]


def _match_image(
    overlap: np.ndarray,
    classes: np.ndarray,
    scores: np.ndarray,
    object_classes: np.ndarray,
    crowd: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return types, mended classes, and which objects were missed."""
    same = classes[:, None] == object_classes
    target = _coco_matches(np.where(same, overlap, -1.0), crowd)
    found = np.zeros(len(crowd), dtype=bool)
    found[target[target >= 0]] = True
    true = target >= 0
    ignored = true & crowd[target]
    found &= ~crowd

    overlap = np.where(crowd, 0.0, overlap)  # a crowd is no object to be mistaken for
    own, other = np.where(same, overlap, 0.0), np.where(same, 0.0, overlap)
    best_own, best_other = own.max(axis=1), other.max(axis=1)
    types = np.select(
        [
            ignored,
            true,
            (best_own >= BACKGROUND) & (best_own <= FOREGROUND),
            best_other >= FOREGROUND,
            np.where(found, own, 0.0).max(axis=1) >= FOREGROUND,
            np.maximum(best_own, best_other) <= BACKGROUND,
        ],
        ['ignored', 'true', 'localisation', 'classification', 'duplicate', 'background'],
        'both',
    )

    # Of the detections that could be mended into finding an object, the best is mended.
    mended_class = np.full(len(classes), -1)
    near = np.where(types == 'localisation', own.argmax(axis=1), other.argmax(axis=1))
    mendable = (types == 'localisation') | (types == 'classification')
    mendable &= ~found[near]
    missed = ~found & ~crowd
    for each in np.flatnonzero(mendable)[np.lexsort([-scores[mendable]])]:
        if missed[near[each]]:
            missed[near[each]] = False
            mended_class[each] = object_classes[near[each]]
    return types, mended_class, missed


def _coco_matches(overlap: np.ndarray, crowd: np.ndarray) -> np.ndarray:
    """Return the object that each detection is matched with, or -1, as COCO's ``evaluateImg`` does.

    Detections come by falling confidence within each class, crowds after other objects.
    """
    target = np.full(len(overlap), -1)
    taken = np.zeros(len(crowd), dtype=bool)
    for each in np.flatnonzero((overlap >= FOREGROUND).any(axis=1)):
        free = np.where(taken & ~crowd, -1.0, overlap[each])
        for candidates in (np.where(crowd, -1.0, free), np.where(crowd, free, -1.0)):
            last_best = len(crowd) - 1 - candidates[::-1].argmax()  # of equal ones COCO takes the last
            if candidates[last_best] >= FOREGROUND:
                target[each] = last_best
                taken[last_best] = True
                break
    return target
