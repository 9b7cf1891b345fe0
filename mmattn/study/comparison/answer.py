"""Compare variants by their results files: metrics, classes, mistakes and images, with intervals."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mmattn.study.evaluation import (
    MISTAKES,
    EvaluationSettings,
    ImageDifference,
    RunResults,
    StudyEvaluation,
    engine_class,
    evaluate_study,
    most_different_images,
    read_ground_truth,
)
from mmattn.study.record import file_hash
from mmattn.study.scores import Scores
from mmattn.study.statistics import Comparison, Summary, compare, paired_difference, summarize

LEAST_AP50 = 0.01
"""Below this AP50 the ids of the categories are suspected to mean something else."""


@dataclass(frozen=True)
class Estimate:
    """A number of the control, of a variant, and their difference with its interval; NaN where unknown."""

    control: float
    variant: float
    difference: float
    low: float
    high: float


@dataclass(frozen=True)
class MistakeChange:
    """How a type of mistake differs between a variant and the control.

    Args:
        iou_type: ``'bbox'`` or ``'segm'``.
        variant: The variant.
        mistake: One of :data:`~mmattn.study.evaluation.MISTAKES`.
        cost: What it costs in AP50, as a fraction.
        number: How many there are in an image.
    """

    iou_type: str
    variant: str
    mistake: str
    cost: Estimate
    number: Estimate


@dataclass(frozen=True)
class Answer:
    """What results files of several variants say about them.

    Args:
        control: The variant with which others are compared.
        variants: All variants.
        images: Number of images.
        ann_file: The annotation file.
        level: Level of the intervals.
        engine: Name and version of what computed the metrics.
        runs: The runs.
        digests: SHA-256 of each file.
        summaries: Mean and spread of each metric and variant.
        comparisons: Each metric of each variant against the control.
        mistakes: Empty if mistakes were not evaluated.
        different_images: By (iou type, variant), the images on which it gains and loses most.
        image_names: File name or id of the images.
        notes: What the user should know.
    """

    control: str
    variants: tuple[str, ...]
    images: int
    ann_file: str
    level: float
    engine: str
    runs: tuple[RunResults, ...]
    digests: Mapping[str, str]
    summaries: tuple[Summary, ...]
    comparisons: tuple[Comparison, ...]
    mistakes: tuple[MistakeChange, ...]
    different_images: Mapping[tuple[str, str], tuple[ImageDifference, ...]]
    image_names: tuple[str, ...]
    notes: tuple[str, ...]


def compare_results(
    runs: Sequence[RunResults],
    settings: EvaluationSettings,
    iou_types: Sequence[str],
    control: str | None = None,
    level: float = 0.95,
    relevant: float = 0.01,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
    different: int = 5,
) -> Answer:
    """Evaluate results files and compare the variants.

    Args:
        runs: Variants and seeds, with their files.
        settings: How they are evaluated; ``iou_type`` is taken from ``iou_types``.
        iou_types: What is compared: ``'bbox'``, ``'segm'`` or both.
        control: The variant with which the others are compared; the first by default.
        level: Level of the intervals.
        relevant: The smallest difference that matters, as a fraction.
        workers: Number of processes.
        progress: Called with the number of files that are evaluated and of all.
        different: Number of images to name on which a variant gains most, and on which it loses most.

    Raises:
        FileNotFoundError: If a file is missing.
        EvaluationRefused: If a file cannot be evaluated.
        ValueError: If there is no such control, or too few images.
    """
    variants = list(dict.fromkeys(run.variant for run in runs))
    if control is not None and control not in variants:
        raise ValueError(f"no variant '{control}' to compare with; there are {', '.join(variants)}")
    each = [replace(settings, iou_type=iou_type) for iou_type in iou_types]
    truth = read_ground_truth(settings.ann_file)
    found = evaluate_study(runs, each, len(truth.image_ids), workers, progress)
    scores = found.scores
    control = variants[0] if control is None else control
    comparisons = compare(scores, control, level, relevant)
    digests = {file: file_hash(file) for run in runs for file in run.files.values()}
    engine = engine_class(settings.engine)
    return Answer(
        control=control,
        variants=scores.variants,
        images=scores.images,
        ann_file=settings.ann_file,
        level=level,
        engine=f'{engine.name} {engine.version}',
        runs=tuple(runs),
        digests=digests,
        summaries=tuple(summarize(scores)),
        comparisons=tuple(comparisons),
        mistakes=tuple(_mistake_changes(found, control, level)) if found.mistakes else (),
        different_images={
            (iou_type, variant): tuple(_different_images(array, scores, variant, control, different))
            for iou_type, array in found.image_scores.items()
            for variant in scores.variants
            if variant != control
        },
        image_names=tuple(name or str(id_) for name, id_ in zip(truth.image_names, truth.image_ids)),
        notes=(*truth.notes, *_notes(found, runs, digests, comparisons, settings.categories)),
    )


def _different_images(
    array: np.ndarray, scores: Scores, variant: str, control: str, number: int
) -> list[ImageDifference]:
    of_variant, of_control = (array[scores.variants.index(name)] for name in (variant, control))
    return most_different_images(of_variant, of_control, scores.seeds, number)


def _mistake_changes(found: StudyEvaluation, control: str, level: float) -> list[MistakeChange]:
    means = {(each.metric, each.variant): each.mean for each in summarize(found.mistakes)}
    variants = found.mistakes.variants
    changes = []
    for cost in compare(found.mistakes, control, level):
        iou_type, _, mistake = cost.metric.partition('/')
        counts = found.mistake_counts[found.mistakes.metrics.index(cost.metric)]
        changes.append(
            MistakeChange(
                iou_type,
                cost.variant,
                mistake,
                Estimate(
                    means[cost.metric, control],
                    means[cost.metric, cost.variant],
                    cost.difference,
                    cost.low,
                    cost.high,
                ),
                _difference_of_counts(
                    counts[variants.index(control)], counts[variants.index(cost.variant)], level
                ),
            )
        )
    order = {name: number for number, name in enumerate(MISTAKES)}
    return sorted(
        changes, key=lambda each: (each.iou_type, variants.index(each.variant), order[each.mistake])
    )


def _difference_of_counts(control: np.ndarray, variant: np.ndarray, level: float) -> Estimate:
    """Return the change of a number of mistakes; both are (seeds, 1 + groups)."""
    both = ~np.isnan(control[:, 0]) & ~np.isnan(variant[:, 0])
    means = float(np.nanmean(control[:, 0])), float(np.nanmean(variant[:, 0]))
    if not both.any():
        return Estimate(*means, math.nan, math.nan, math.nan)
    change = (variant - control)[both]
    low, high = paired_difference(change[:, 0], change[:, 1:]).interval(level)
    return Estimate(*means, float(change[:, 0].mean()), low, high)


def _notes(
    found: StudyEvaluation,
    runs: Sequence[RunResults],
    digests: Mapping[str, str],
    comparisons: Sequence[Comparison],
    categories: str,
) -> list[str]:
    notes = []
    files = {(iou_type, run.variant, run.seed): file for run in runs for iou_type, file in run.files.items()}
    said = defaultdict(dict)
    for run, texts in found.notes.items():
        for text in texts:
            said[text][files[run]] = None
    for text, (first, *others) in said.items():
        notes.append(f'{text}: {first}{f" and {len(others)} more" if others else ""}')
    least, most = min(found.without_detections.values()), max(found.without_detections.values())
    if most:
        number = f'{least}' if least == most else f'{least} to {most}'
        notes.append(f'{number} of {found.scores.images} images have no detections; they count')
    same = defaultdict(list)
    for file, digest in digests.items():
        same[digest].append(file)
    notes += [f'these files are the same: {", ".join(each)}' for each in same.values() if len(each) > 1]
    scores = found.scores
    for metric, values in zip(scores.metrics, scores.values):
        iou_type, _, name = metric.partition('/')
        for v, s in zip(*np.nonzero(values < LEAST_AP50)) if name == 'AP50' else ():
            run = iou_type, scores.variants[v], scores.seeds[s]
            if found.without_detections[run] < scores.images:
                notes.append(
                    f'AP50 is {100 * values[v, s]:.2f} in {files[run]}: its image or category ids may mean '
                    f'others (categories are read as {categories!r}: see --categories)'
                )
    of_seeds: dict[str, dict[str, None]] = defaultdict(dict)
    for each in comparisons:
        if each.parts is not None and each.note:
            of_seeds[each.note][each.variant] = None
    return [*notes, *(f'{", ".join(of)}: {note}' for note, of in of_seeds.items())]
