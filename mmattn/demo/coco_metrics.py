"""COCO's twelve figures from an annotation file and a detection file."""

import contextlib
import io
from pathlib import Path

from mmengine.fileio import dump, load
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

NAMES = ('AP', 'AP50', 'AP75', 'APs', 'APm', 'APl', 'AR1', 'AR10', 'AR100', 'ARs', 'ARm', 'ARl')


def coco_figures(ann_file, detections, area_limits=None, iou_type='bbox'):
    """Evaluate detections as COCO's own code does.

    Args:
        ann_file (str | Path): Annotations in COCO format.
        detections (str | Path): Detections in COCO's result format, as mmdet's ``CocoMetric`` writes
            them with ``outfile_prefix``.
        area_limits (tuple, optional): Areas where small ends and large begins, if not COCO's
            ``(32 ** 2, 96 ** 2)``.
        iou_type (str): ``'bbox'`` or ``'segm'``.

    Returns:
        dict: The twelve figures by name (``NAMES``), unrounded. None where there is nothing to
        measure, such as large objects in a set without any.
    """
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools reports each step
        truth = COCO(str(ann_file))
        found = load(str(detections), file_format='json')
        evaluation = COCOeval(truth, truth.loadRes(found) if found else _nothing(truth), iou_type)
        if area_limits is not None:
            small, large = area_limits
            everything = evaluation.params.areaRng[0]
            evaluation.params.areaRng = [everything, [0, small], [small, large], [large, everything[1]]]
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return {name: None if value < 0 else float(value) for name, value in zip(NAMES, evaluation.stats)}


def _nothing(truth):
    # loadRes fails on an empty list
    empty = COCO()
    empty.dataset = dict(
        images=truth.dataset['images'], annotations=[], categories=truth.dataset['categories']
    )
    empty.createIndex()
    return empty


def write_figures(figures, path):
    """Write the figures to a JSON file."""
    dump(figures, str(Path(path)), indent=2)


def figures_table(figures):
    """The figures as two lines of text, names over values."""
    values = ['-' if figures[name] is None else f'{figures[name]:.3f}' for name in NAMES]
    return '\n'.join('  '.join(cell.rjust(5) for cell in row) for row in (NAMES, values))
