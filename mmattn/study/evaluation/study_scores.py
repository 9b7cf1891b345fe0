"""Evaluate all runs of a study, and put their metrics into Scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mmattn.study.evaluation.evaluate import Evaluation, EvaluationSettings, evaluate_runs
from mmattn.study.evaluation.metrics import full_name
from mmattn.study.evaluation.mistakes import MISTAKES
from mmattn.study.evaluation.parts import IMAGE_SCORES, mistake_cost, mistake_count
from mmattn.study.scores import Scores


@dataclass(frozen=True)
class RunResults:
    """Where the detections of a run are.

    Args:
        variant: The run's variant.
        seed: Its seed.
        files: Its results file for each of ``'bbox'`` and ``'segm'`` that is evaluated.
    """

    variant: str
    seed: int
    files: Mapping[str, str]


@dataclass(frozen=True, eq=False)
class StudyEvaluation:
    """The evaluation of all runs of a study; a run that is missing is NaN.

    Args:
        scores: All metrics, with the jackknife.
        mistakes: What each type of mistake costs in AP50, in the same form, such as ``'bbox/missed'``; None
            if mistakes were not evaluated. Less is better.
        mistake_counts: How many there are in an image, on all images and without each group,
            (iou types x mistakes, variants, seeds, 1 + groups); in the order of ``mistakes.metrics``.
        image_scores: For each iou type, the AP of each image alone, (variants, seeds, images).
        notes: How the results file of a run was read, by (iou type, variant, seed).
        without_detections: Number of images without detections, in the same order.
    """

    scores: Scores
    mistakes: Scores | None
    mistake_counts: np.ndarray | None
    image_scores: Mapping[str, np.ndarray]
    notes: Mapping[tuple[str, str, int], tuple[str, ...]]
    without_detections: Mapping[tuple[str, str, int], int]


def evaluate_study(
    runs: Sequence[RunResults],
    settings: Sequence[EvaluationSettings],
    images: int,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> StudyEvaluation:
    """Evaluate all runs.

    Args:
        runs: The runs; variants and seeds keep the order in which they appear here.
        settings: One for each iou type.
        images: Number of images in the annotation file.
        workers: Number of processes.
        progress: Called with the number of files that are done and of all.

    Raises:
        FileNotFoundError: If a file is missing.
        EvaluationRefused: If a file cannot be evaluated.
    """
    variants, seeds = (tuple(dict.fromkeys(each)) for each in zip(*((run.variant, run.seed) for run in runs)))
    grid = _Grid(variants, seeds, images)
    done, of = 0, sum(setting.iou_type in run.files for setting in settings for run in runs)
    scores, costs, counts = {}, {}, {}
    image_scores, notes, without = {}, {}, {}
    for setting in settings:
        there = [run for run in runs if setting.iou_type in run.files]
        before = done
        found = evaluate_runs(
            [run.files[setting.iou_type] for run in there],
            setting,
            workers,
            progress and (lambda number, _, before=before: progress(before + number, of)),
        )
        done += len(there)
        evaluations = {(run.variant, run.seed): each for run, each in zip(there, found)}
        notes |= {(setting.iou_type, *run): each.notes for run, each in evaluations.items()}
        without |= {(setting.iou_type, *run): each.without_detections for run, each in evaluations.items()}
        names = [name for name in dict.fromkeys(name for each in found for name in each.arrays)]
        for name in names:
            array = grid.collect(evaluations, name)
            of_mistake = _OF_MISTAKE.get(name)
            if name == IMAGE_SCORES:
                image_scores[setting.iou_type] = array
            elif of_mistake is None:
                scores[full_name(setting.iou_type, name)] = array
            else:
                is_cost, mistake = of_mistake
                (costs if is_cost else counts)[full_name(setting.iou_type, mistake)] = array
    return StudyEvaluation(
        grid.scores(scores),
        grid.scores(costs) if costs else None,
        np.stack([_for_each_image(counts[name], images) for name in costs]) if costs else None,
        image_scores,
        notes,
        without,
    )


_OF_MISTAKE = {mistake_cost(name): (True, name) for name in MISTAKES} | {
    mistake_count(name): (False, name) for name in MISTAKES
}


def _for_each_image(counts: np.ndarray, images: int) -> np.ndarray:
    """Return counts, on all images and without each group, in relation to the number of images."""
    groups = counts.shape[-1] - 1
    # As jackknife_groups deals them: the first groups have one image more.
    sizes = np.bincount(np.arange(images) % groups, minlength=groups)
    return counts / np.concatenate([[images], images - sizes])


@dataclass(frozen=True)
class _Grid:
    variants: tuple[str, ...]
    seeds: tuple[int, ...]
    images: int

    def collect(self, evaluations: Mapping[tuple[str, int], Evaluation], name: str) -> np.ndarray:
        """Return an array of all runs, (variants, seeds, ...)."""
        some = next(each.arrays[name] for each in evaluations.values())
        array = np.full((len(self.variants), len(self.seeds), *some.shape), np.nan)
        for (variant, seed), each in evaluations.items():
            array[self.variants.index(variant), self.seeds.index(seed)] = each.arrays[name]
        return array

    def scores(self, arrays: Mapping[str, np.ndarray]) -> Scores:
        together = np.stack(list(arrays.values()))
        return Scores(
            self.variants, self.seeds, self.images, tuple(arrays), together[..., 0], together[..., 1:]
        )
