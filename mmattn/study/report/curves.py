"""Learning curves of a study: a metric of each variant by the step of its evaluations."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmattn.study.plan import Run

_KEYS = {'AP': 'mAP', 'AP50': 'mAP_50', 'AP75': 'mAP_75', 'AP_s': 'mAP_s', 'AP_m': 'mAP_m', 'AP_l': 'mAP_l'}
"""Metrics as MMDetection logs them."""


@dataclass(frozen=True)
class Curve:
    """A metric over the training of a variant.

    Attributes:
        steps: Number of epochs, or of iterations, of each evaluation.
        mean: Mean over seeds.
        spread: Standard deviation over seeds; 0 with one seed.
        seeds: Number of seeds at each step.
    """

    steps: tuple[int, ...]
    mean: tuple[float, ...]
    spread: tuple[float, ...]
    seeds: tuple[int, ...]


def curves_of(runs: Mapping[Run, Mapping[str, Any]], iou_type: str, metric: str) -> dict[str, Curve]:
    """Return the curve of each variant, from the metrics that its runs have logged.

    Args:
        runs: Runs with their records.
        iou_type: ``'bbox'`` or ``'segm'``.
        metric: One of COCO's six AP.
    """
    key = f'{iou_type}_{_KEYS[metric]}'
    found: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for run, record in runs.items():
        for step, value in _values(record.get('evaluations', ()), key):
            found[run.variant][step].append(value)
    return {variant: _curve(by_step) for variant, by_step in found.items()}


def _values(evaluations: Iterable[Mapping[str, Any]], key: str) -> Iterable[tuple[int, float]]:
    for evaluation in evaluations:
        for name, value in evaluation['metrics'].items():
            if name.rpartition('/')[2] == key and value >= 0:
                yield int(re.search(r'\d+$', evaluation['step']).group()), value


def _curve(by_step: Mapping[int, list[float]]) -> Curve:
    steps = sorted(by_step)
    values = [np.array(by_step[step]) for step in steps]
    return Curve(
        tuple(steps),
        tuple(float(each.mean()) for each in values),
        tuple(float(each.std(ddof=1)) if len(each) > 1 else 0.0 for each in values),
        tuple(len(each) for each in values),
    )
