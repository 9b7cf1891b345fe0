"""Gather what a study's report says: metrics with intervals, learning curves, costs."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmattn.cost.compare import TimingOptions
from mmattn.study.comparison import Answer, compare_results
from mmattn.study.evaluation import EvaluationSettings
from mmattn.study.report.costs import costs_of
from mmattn.study.report.curves import Curve, curves_of
from mmattn.study.report.folder import StudyFolder, read_study_folder
from mmattn.study.report.image_rows import ImageRow, image_rows

REPORT = 'report'
"""Folder of a study with its report."""


@dataclass(frozen=True)
class StudyReport:
    """All that a report shows.

    Attributes:
        folder: The study.
        answer: What its detections say.
        curves: Learning curves of AP, by iou type and variant.
        images: The images on which variants and control differ most, drawn.
        costs: What all variants and controls cost, those without a finished run too; the control first.
    """

    folder: StudyFolder
    answer: Answer
    curves: Mapping[str, Mapping[str, Curve]]
    costs: Sequence[Mapping[str, Any]]
    images: Sequence[ImageRow] = ()


def make_report(
    path: str | os.PathLike,
    relevant: float = 0.01,
    level: float = 0.95,
    timing: TimingOptions | None = None,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
    images: int = 3,
    device: str = 'cpu',
    drawn: Callable[[int, int], None] | None = None,
) -> StudyReport:
    """Evaluate and compare the finished runs of a study.

    Args:
        path: Folder of the study.
        relevant: The smallest difference that matters, as a fraction.
        level: Level of the intervals.
        timing: How to measure training steps and inference of all variants side by side; None not to.
        workers: Number of processes that evaluate.
        progress: Called with the number of files that are evaluated and of all.
        images: Number of images to draw on which a variant gains most, and on which it loses most.
        device: Where detectors run, whose gates are shown on these images.
        drawn: Called with the number of images that are drawn and of all.

    Raises:
        FileNotFoundError: If it is no folder of a study, or a file of it is gone.
        ValueError: If too few runs are finished.
    """
    folder = read_study_folder(path)
    settings = EvaluationSettings(folder.ann_file, cache=str(folder.path / REPORT / 'evaluations'))
    control = folder.study['control']
    answer = compare_results(
        folder.results(),
        settings,
        folder.iou_types,
        control,
        level,
        relevant,
        workers,
        progress,
        max(images, 5),
    )
    return StudyReport(
        folder,
        answer,
        {part: curves_of(folder.finished, part, 'AP') for part in folder.iou_types},
        costs_of({variant: folder.config(variant) for variant in folder.study['variants']}, control, timing),
        image_rows(folder, answer, images, device, drawn),
    )
