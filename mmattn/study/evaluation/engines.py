"""The programs that compute COCO's metrics, and the one place where one of them is chosen."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Protocol

import numpy as np

from mmattn.study.evaluation.detections import Detections
from mmattn.study.evaluation.ground_truth import GroundTruth


class Engine(Protocol):
    """Compute COCO's metrics of detections, on all images and on subsets of them, for one annotation file.

    All engines give the same numbers. A metric that is undefined is NaN.
    """

    name: str
    version: str

    def __init__(self, truth: GroundTruth) -> None: ...

    def evaluate(
        self, detections: Detections, subsets: Sequence[np.ndarray], metrics: Sequence[str]
    ) -> np.ndarray:
        """Return metrics of :data:`~mmattn.study.evaluation.metrics.SUMMARY`, (1 + subsets, metrics).

        Args:
            detections: Those of one run.
            subsets: The images of each, as numbers in the annotations, none of them empty.
            metrics: Their names.
        """
        ...

    def evaluate_classes(self, detections: Detections, subsets: Sequence[np.ndarray]) -> np.ndarray:
        """Return the AP of each class, (1 + subsets, classes)."""
        ...


ENGINES = ('hotcoco', 'pycocotools')
"""The engines, the fastest first."""


def engine_class(name: str | None = None) -> type[Engine]:
    """Return an engine: that of a name, or the fastest that is installed.

    Raises:
        ValueError: If there is none of that name.
        ImportError: If it is not installed.
    """
    if name is None:
        name = next(each for each in ENGINES if find_spec(each))
    if name == 'hotcoco':
        from mmattn.study.evaluation.hotcoco_engine import HotcocoEngine

        return HotcocoEngine
    if name == 'pycocotools':
        from mmattn.study.evaluation.pycocotools_engine import PycocotoolsEngine

        return PycocotoolsEngine
    raise ValueError(f"there is no engine '{name}' for COCO's metrics; there are {', '.join(ENGINES)}")


def slow_engine_note(name: str) -> str | None:
    """Return what to tell the user of a slow engine."""
    if name == ENGINES[0]:
        return None
    fast = ENGINES[0]
    return f'{name} evaluates: it gives the same numbers as {fast} and takes longer (pip install {fast})'
