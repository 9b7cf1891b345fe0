"""COCO's metrics by pycocotools, COCO's own code: the definition of these numbers, and slow."""

from __future__ import annotations

import contextlib
import copy
import io
from collections.abc import Iterator, Sequence
from importlib.metadata import version

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mmattn.study.evaluation.detections import Detections
from mmattn.study.evaluation.ground_truth import GroundTruth
from mmattn.study.evaluation.metrics import AREAS, MAIN, MAX_DETECTIONS


class PycocotoolsEngine:
    """See :class:`~mmattn.study.evaluation.engines.Engine`."""

    name = 'pycocotools'
    version = version('pycocotools')

    def __init__(self, truth: GroundTruth) -> None:
        self._truth = truth
        self._images = [
            dict(id=number, height=h, width=w) for number, (h, w) in enumerate(truth.sizes.tolist(), 1)
        ]
        self._categories = [dict(id=number, name=name) for number, name in enumerate(truth.class_names, 1)]
        self._coco = self._load(truth, dict(iscrowd=truth.crowd.astype(int).tolist()))

    def evaluate(
        self, detections: Detections, subsets: Sequence[np.ndarray], metrics: Sequence[str]
    ) -> np.ndarray:
        evaluation = self._evaluate(detections, only_main=set(metrics) <= set(MAIN))
        return np.array(
            [[_summary(each, metric) for metric in metrics] for each in _subsets(evaluation, subsets)]
        )

    def evaluate_classes(self, detections: Detections, subsets: Sequence[np.ndarray]) -> np.ndarray:
        evaluation = self._evaluate(detections, only_main=True)
        classes = range(len(self._truth.class_names))
        return np.array(
            [
                [_mean(each.eval['precision'][:, :, number, 0, -1]) for number in classes]
                for each in _subsets(evaluation, subsets)
            ]
        )

    def _evaluate(self, detections: Detections, only_main: bool) -> COCOeval:
        with contextlib.redirect_stdout(io.StringIO()):  # pycocotools reports each step
            found = self._load(detections, dict(score=detections.scores.tolist()))
            evaluation = COCOeval(self._coco, found, self._truth.iou_type)
            if only_main:
                evaluation.params.areaRng = [list(AREAS['all'])]
                evaluation.params.areaRngLbl = ['all']
                evaluation.params.maxDets = [100]
            evaluation.evaluate()
        return evaluation

    def _load(self, what: GroundTruth | Detections, more: dict[str, list]) -> COCO:
        columns = dict(
            image_id=(what.images + 1).tolist(),
            category_id=(what.classes + 1).tolist(),
            bbox=what.boxes.tolist(),
            area=what.areas.tolist(),
            **more,
        )
        if what.masks is not None:
            columns['segmentation'] = what.masks
        coco = COCO()
        coco.dataset = dict(
            images=self._images,
            categories=self._categories,
            annotations=[
                dict(zip(columns, values), id=number)
                for number, values in enumerate(zip(*columns.values()), 1)
            ],
        )
        with contextlib.redirect_stdout(io.StringIO()):
            coco.createIndex()
        return coco


def _subsets(evaluation: COCOeval, subsets: Sequence[np.ndarray]) -> Iterator[COCOeval]:
    """Yield the evaluation of all images and of each subset; each image is matched only once."""
    parameters = evaluation.params
    matches = np.empty(len(evaluation.evalImgs), dtype=object)
    matches[:] = evaluation.evalImgs
    matches = matches.reshape(len(parameters.catIds), len(parameters.areaRng), len(parameters.imgIds))
    for images in (np.arange(len(parameters.imgIds)), *subsets):
        each = copy.copy(evaluation)
        there = np.isin(np.arange(len(parameters.imgIds)), images)
        each.evalImgs = np.where(there, matches, None).ravel().tolist()  # accumulate leaves None out
        with contextlib.redirect_stdout(io.StringIO()):
            each.accumulate()
        yield each


_THRESHOLDS = dict(AP50=0.5, AP75=0.75)


def _summary(evaluation: COCOeval, metric: str) -> float:
    """Return a metric of :data:`SUMMARY`, as COCO's ``summarize`` computes it."""
    name, _, rest = metric.partition('@')
    name, _, area = name.partition('_')
    number = int(rest) if rest else MAX_DETECTIONS[-1]
    area = evaluation.params.areaRngLbl.index(dict(s='small', m='medium', l='large').get(area, 'all'))
    most = evaluation.params.maxDets.index(number)
    if name.startswith('AR'):
        return _mean(evaluation.eval['recall'][:, :, area, most])
    precision = evaluation.eval['precision'][..., area, most]
    if name in _THRESHOLDS:
        precision = precision[evaluation.params.iouThrs == _THRESHOLDS[name]]
    return _mean(precision)


def _mean(values: np.ndarray) -> float:
    values = values[values > -1]
    return float(values.mean()) if values.size else np.nan
