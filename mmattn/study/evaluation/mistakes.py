"""Sort the mistakes of a detector by cause, and say what each cause costs in AP50, as TIDE defines it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmattn.study.evaluation.average_precision import average_precision
from mmattn.study.evaluation.detections import Detections
from mmattn.study.evaluation.ground_truth import GroundTruth
from mmattn.study.evaluation.matching import match_images

MISTAKES = ('classification', 'localisation', 'both', 'duplicate', 'background', 'missed')
"""TIDE's six main types of mistakes, in its order."""

TRUE, IGNORED = 'true', 'ignored'


@dataclass(frozen=True, eq=False)
class Mistakes:
    """The mistakes of one run.

    Args:
        counts: How many there are of each of :data:`MISTAKES`, on all images and without each jackknife
            group, (6, 1 + groups).
        costs: How much AP50 would rise, as a fraction, if all of a type were mended and nothing else, (6, 1 +
            groups). They do not add up, since a mended mistake often uncovers another.
    """

    counts: np.ndarray
    costs: np.ndarray


def count_mistakes(truth: GroundTruth, detections: Detections, group: np.ndarray) -> Mistakes:
    """Find the mistakes of a run by TIDE's definitions (Bolya et al., ECCV 2020, section 2.2).

    A detection is true or false as COCO has it at an IoU of 0.5, with at most 100 of a class in an image.
    A false one is, by the first of these that fits:

    - localisation: its best IoU with an object of its class is from 0.1 to 0.5;
    - classification: it has an IoU of 0.5 or more with an object of another class;
    - duplicate: it has that with an object of its class, which another detection found already;
    - background: it has an IoU of at most 0.1 with any object;
    - both: it has a larger one, below 0.5, with an object of another class.

    An object is missed if it was neither found nor the target of a mistake in classification or localisation.

    Mending the first two makes the highest-scoring detection of an object that was not found true, and
    removes the others; mending the next three removes the detection; mending a miss takes the
    object out of the count.

    tidecv differs in details: it takes at most 100 detections of an image, of all classes together,
    counts a class that has only detections with an AP of 0, sets costs below 0 to 0, and finds mistakes among
    the detections that a crowd excuses.
    """
    found = match_images(truth, detections)
    groups = int(group.max()) + 1
    objects = _by_class(truth.classes[~truth.crowd], group[truth.images[~truth.crowd]], truth, groups)
    missed = _by_class(truth.classes[found.missed], group[truth.images[found.missed]], truth, groups)

    def cost_free(mistake: str) -> np.ndarray:
        """Return AP50 with one type mended."""
        mended = found.types == mistake
        stays = (found.types != IGNORED) & (~mended | (found.mended_class >= 0))
        classes = np.where(mended, found.mended_class, found.classes)[stays]
        true = ((found.types == TRUE) | mended)[stays]
        return average_precision(
            classes,
            found.scores[stays],
            true,
            group[found.images[stays]],
            objects - missed if mistake == 'missed' else objects,
        )

    base = cost_free('')
    counts = [_left(group[found.images[found.types == mistake]], groups) for mistake in MISTAKES[:-1]]
    return Mistakes(
        counts=np.stack([*counts, missed.sum(axis=0)]),
        costs=np.stack([cost_free(mistake) - base for mistake in MISTAKES]),
    )


def _by_class(classes: np.ndarray, group: np.ndarray, truth: GroundTruth, groups: int) -> np.ndarray:
    return np.stack([_left(group[classes == number], groups) for number in range(len(truth.class_ids))])


def _left(group: np.ndarray, groups: int) -> np.ndarray:
    """Return how many there are in all, and how many without each group."""
    return len(group) - np.concatenate([[0], np.bincount(group, minlength=groups)])
