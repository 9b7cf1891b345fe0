"""The parts of an evaluation, each of which is computed and kept by itself."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mmattn.study.evaluation.detections import Detections
from mmattn.study.evaluation.engines import Engine
from mmattn.study.evaluation.ground_truth import GroundTruth
from mmattn.study.evaluation.jackknife import subsets_of
from mmattn.study.evaluation.metrics import MAIN, SUMMARY, class_metric
from mmattn.study.evaluation.mistakes import MISTAKES, count_mistakes

Part = Callable[[Engine, GroundTruth, Detections, np.ndarray], dict[str, np.ndarray]]


def main(engine: Engine, truth: GroundTruth, detections: Detections, group: np.ndarray) -> dict:
    """AP, AP50 and AP75: on all images, then without each group, (1 + groups,) each."""
    return dict(zip(MAIN, engine.evaluate(detections, subsets_of(group), MAIN).T))


def summary(engine: Engine, truth: GroundTruth, detections: Detections, group: np.ndarray) -> dict:
    """COCO's twelve metrics in the same way."""
    return dict(zip(SUMMARY, engine.evaluate(detections, subsets_of(group), SUMMARY).T))


def classes(engine: Engine, truth: GroundTruth, detections: Detections, group: np.ndarray) -> dict:
    """The AP of each class in the same way."""
    values = engine.evaluate_classes(detections, subsets_of(group)).T
    return {class_metric(name): each for name, each in zip(truth.class_names, values)}


def mistakes(engine: Engine, truth: GroundTruth, detections: Detections, group: np.ndarray) -> dict:
    """What each type of mistake costs in AP50, and how many there are, in the same way."""
    found = count_mistakes(truth, detections, group)
    costs = {mistake_cost(name): each for name, each in zip(MISTAKES, found.costs)}
    return costs | {mistake_count(name): each for name, each in zip(MISTAKES, found.counts)}


def images(engine: Engine, truth: GroundTruth, detections: Detections, group: np.ndarray) -> dict:
    """The AP of each image alone, (images,): over its classes, NaN if there is no object in it."""
    alone = engine.evaluate(detections, [np.array([image]) for image in range(len(truth.image_ids))], ('AP',))
    return {IMAGE_SCORES: alone[1:, 0]}


def mistake_cost(mistake: str) -> str:
    """Return the metric's name of what a type of mistake costs."""
    return f'cost of {mistake}'


def mistake_count(mistake: str) -> str:
    """Return the name of the number of mistakes of a type."""
    return f'number of {mistake}'


IMAGE_SCORES = 'AP of each image'
PARTS: dict[str, Part] = {each.__name__: each for each in (main, summary, classes, mistakes, images)}
"""All parts; ``summary`` includes ``main``, which takes less time."""
