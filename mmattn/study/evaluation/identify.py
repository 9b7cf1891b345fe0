"""Find out which images and classes the ids in a results file stand for."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Sequence

from mmattn.study.evaluation.ground_truth import GroundTruth
from mmattn.study.evaluation.refused import EvaluationRefused, some

AUTO = 'auto'
"""Find out from the numbers what ``category_id`` is."""
CATEGORY_READINGS = ('ids', 'from-0', 'from-1')
"""What ``category_id`` may be: the annotation file's ids, or a count of its categories from 0 or from 1."""


def image_numbers(path: str, ids: Sequence[Hashable], truth: GroundTruth) -> tuple[list[int], list[str]]:
    """Return the number of each image, and notes.

    An ``image_id`` is the annotation file's id, as COCO says; or, in all of the file, the name of the image
    without its suffix, as a text or a number, as Ultralytics writes it.

    Raises:
        EvaluationRefused: If some are neither.
    """
    by_id = {each: number for number, each in enumerate(truth.image_ids)}
    distinct = dict.fromkeys(ids)
    if all(each in by_id for each in distinct):
        return [by_id[each] for each in ids], []
    by_stem = _by_stem(truth)
    unknown = [each for each in distinct if each not in by_id]
    if all(each in by_stem for each in distinct):
        return [by_stem[each] for each in ids], [
            'image_id is the name of the image without its suffix (as Ultralytics writes it)'
        ]
    neither = [each for each in unknown if each not in by_stem]
    raise EvaluationRefused(
        f"'{path}': {len(unknown)} of its {len(distinct)} image ids are not in '{truth.path}', neither as "
        f'ids nor as names of images without suffix: {some(neither or unknown)}. That file has ids such as '
        f'{some(truth.image_ids[:3])} and names such as {some(truth.image_names[:3])}. Give the annotation '
        'file on which the detector was run, or results of these images alone'
    )


def _by_stem(truth: GroundTruth) -> dict[Hashable, int]:
    numbers: dict[Hashable, int] = {}
    for number, name in enumerate(truth.image_names):
        stem = os.path.splitext(name.replace('\\', '/').rpartition('/')[2])[0]
        for key in (stem, int(stem)) if stem.isascii() and stem.isdigit() else (stem,):
            if key in numbers:  # two folders with images of one name
                return {}
            numbers[key] = number
    return numbers


def class_numbers(
    path: str, ids: Sequence[Hashable], truth: GroundTruth, reading: str = AUTO
) -> tuple[list[int], list[str]]:
    """Return the number of each class, and notes.

    A ``category_id`` is the annotation file's id, as COCO says. If some are not, but all are counts of the
    categories in the order of their ids, from 0 or else from 1, they are taken as that. A file of a
    detector that counts from 0 and never found the first class reads as ids too: ``reading`` says what
    is meant.

    Args:
        path: The results file.
        ids: What it says.
        truth: The annotations.
        reading: ``'auto'``, or one of :data:`CATEGORY_READINGS`.

    Raises:
        EvaluationRefused: If some are of no category.
    """
    distinct = dict.fromkeys(ids)
    for name in CATEGORY_READINGS if reading == AUTO else (reading,):
        numbers = _READINGS[name](truth)
        if all(each in numbers for each in distinct):
            notes = [] if name == 'ids' else [
                f'category_id counts the {len(truth.class_ids)} categories {name.replace("-", " ")}, in the '
                'order of their ids'
            ]  # fmt: skip
            return [numbers[each] for each in ids], notes
    known = _READINGS['ids' if reading == AUTO else reading](truth)
    unknown = [each for each in distinct if each not in known]
    raise EvaluationRefused(
        f"'{path}': category ids that '{truth.path}' does not have: {some(unknown)}. It has "
        f'{len(truth.class_ids)} categories with the ids {some(truth.class_ids)}; '
        f'{"a count of them from 0 or 1 does not fit either" if reading == AUTO else f"read as {reading}"}. '
        'Give the annotation file of the classes that the detector has'
    )


_READINGS: dict[str, Callable[[GroundTruth], dict[Hashable, int]]] = {
    'ids': lambda truth: {each: number for number, each in enumerate(truth.class_ids)},
    'from-0': lambda truth: {number: number for number in range(len(truth.class_ids))},
    'from-1': lambda truth: {number + 1: number for number in range(len(truth.class_ids))},
}
