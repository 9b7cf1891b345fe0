"""COCO's metrics by hotcoco, a port of pycocotools to Rust that evaluates many subsets at little cost."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version

import hotcoco
import numpy as np

from mmattn.study.evaluation.detections import Detections
from mmattn.study.evaluation.ground_truth import GroundTruth
from mmattn.study.evaluation.metrics import AREAS, MAIN, SUMMARY

_NAMES = dict(
    zip(SUMMARY, ('AP', 'AP50', 'AP75', 'APs', 'APm', 'APl', 'AR1', 'AR10', 'AR100', 'ARs', 'ARm', 'ARl'))
)


class HotcocoEngine:
    """See :class:`~mmattn.study.evaluation.engines.Engine`."""

    name = 'hotcoco'
    version = version('hotcoco')

    def __init__(self, truth: GroundTruth) -> None:
        self._truth = truth
        self._coco = hotcoco.COCO.from_arrays(
            # The sizes are of use to masks alone; without them nothing would tell 0 from a size.
            [
                dict(id=number, height=max(h, 1), width=max(w, 1))
                for number, (h, w) in enumerate(truth.sizes.tolist(), 1)
            ],
            [dict(id=number, name=name) for number, name in enumerate(truth.class_names, 1)],
            truth.images + 1,
            truth.classes + 1,
            truth.boxes,
            area=truth.areas,
            iscrowd=truth.crowd,
            segmentation=truth.masks,
        )

    def evaluate(
        self, detections: Detections, subsets: Sequence[np.ndarray], metrics: Sequence[str]
    ) -> np.ndarray:
        evaluation = self._evaluation(detections, only_main=set(metrics) <= set(MAIN))
        return _slices(evaluation, subsets, metrics)

    def evaluate_classes(self, detections: Detections, subsets: Sequence[np.ndarray]) -> np.ndarray:
        # Slices have no AP by class; evaluating one class at a time takes no longer than all at once.
        classes = range(len(self._truth.class_names))
        each = [_slices(self._evaluation(detections, True, c), subsets, ('AP',)) for c in classes]
        return np.concatenate(each, axis=1)

    def _evaluation(
        self, detections: Detections, only_main: bool, only_class: int | None = None
    ) -> hotcoco.COCOeval:
        if only_class is not None:
            detections = detections.of_class(only_class)
        evaluation = hotcoco.COCOeval(self._coco, self._load(detections), self._truth.iou_type)
        if only_main:
            evaluation.params.area_rng = [list(AREAS['all'])]
            evaluation.params.area_rng_lbl = ['all']
            evaluation.params.max_dets = [100]
        if only_class is not None:
            evaluation.params.cat_ids = [only_class + 1]
        evaluation.evaluate()
        evaluation.accumulate()
        return evaluation

    def _load(self, detections: Detections) -> hotcoco.COCO:
        columns = (detections.images + 1, detections.boxes, detections.scores, detections.classes + 1)
        found = self._coco.load_res(np.column_stack(columns), segmentation=detections.masks)
        if detections.masks is not None:  # hotcoco takes the area of the box
            found.update_anns(ids=np.arange(1, len(detections) + 1), area=detections.areas)
        return found


def _slices(
    evaluation: hotcoco.COCOeval, subsets: Sequence[np.ndarray], metrics: Sequence[str]
) -> np.ndarray:
    # By name, for the order of what slice_by returns is arbitrary.
    slices = evaluation.slice_by({str(number): (ids + 1).tolist() for number, ids in enumerate(subsets)})
    rows = [slices[name] for name in ('_overall', *map(str, range(len(subsets))))]
    values = np.array([[row[_NAMES[metric]] for metric in metrics] for row in rows], dtype=np.float64)
    return np.where(values < 0, np.nan, values)
