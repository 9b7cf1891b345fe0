"""Compute COCO's twelve metrics from an annotation file and a detection file."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping
from pathlib import Path

from mmengine.fileio import dump, load
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

MEANINGS = dict(
    AP='average precision, mean over IoU 0.50 to 0.95',
    AP50='at IoU 0.50',
    AP75='at IoU 0.75',
    APs='of small objects',
    APm='of medium objects',
    APl='of large objects',
    AR1='average recall with 1 detection an image',
    AR10='with 10',
    AR100='with 100',
    ARs='of small objects',
    ARm='of medium objects',
    ARl='of large objects',
)
"""What each metric is, in COCO's order."""
NAMES = tuple(MEANINGS)
"""Names of the metrics, in COCO's order."""


def coco_metrics(
    ann_file: str | Path,
    detections: str | Path,
    area_limits: tuple[int, int] | None = None,
    iou_type: str = 'bbox',
) -> dict[str, float | None]:
    """Evaluate detections with COCO's own code.

    Args:
        ann_file: Annotations in COCO format.
        detections: Detections in COCO's result format, as MMDetection's ``CocoMetric`` writes them with
            ``outfile_prefix``.
        area_limits: Areas at which small objects end and large ones begin, by default COCO's
            ``(32**2, 96**2)``.
        iou_type: ``'bbox'`` or ``'segm'``.

    Returns:
        The metrics by name (:data:`NAMES`), not rounded. ``None`` if there is nothing to measure, for example
        large objects in a data set that has none.
    """
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools reports each step
        truth = COCO(str(ann_file))
        found = load(str(detections), file_format='json')
        evaluation = COCOeval(truth, truth.loadRes(found) if found else _no_detections(truth), iou_type)
        if area_limits is not None:
            small, large = area_limits
            everything = evaluation.params.areaRng[0]
            evaluation.params.areaRng = [everything, [0, small], [small, large], [large, everything[1]]]
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return {name: None if value < 0 else float(value) for name, value in zip(NAMES, evaluation.stats)}


def _no_detections(truth: COCO) -> COCO:
    """Return what ``truth.loadRes([])`` would, which fails on an empty list."""
    empty = COCO()
    empty.dataset = dict(
        images=truth.dataset['images'], annotations=[], categories=truth.dataset['categories']
    )
    empty.createIndex()
    return empty


def write_metrics(metrics: Mapping[str, float | None], path: str | Path) -> None:
    """Write the metrics to a JSON file."""
    dump(metrics, str(Path(path)), indent=2)


def metrics_table(metrics: Mapping[str, float | None]) -> str:
    """Return the metrics as two lines of text: names over values."""
    values = ['-' if metrics[name] is None else f'{metrics[name]:.3f}' for name in NAMES]
    return '\n'.join('  '.join(cell.rjust(5) for cell in row) for row in (NAMES, values))
