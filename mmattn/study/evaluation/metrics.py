"""Names of COCO's metrics, and what they stand for."""

from __future__ import annotations

MAIN = ('AP', 'AP50', 'AP75')
"""The metrics of most tables: they need one range of areas and one number of detections."""

SUMMARY = (*MAIN, 'AP_s', 'AP_m', 'AP_l', 'AR@1', 'AR@10', 'AR@100', 'AR_s', 'AR_m', 'AR_l')
"""COCO's twelve metrics in COCO's order."""

AREAS = {'all': (0, 1e10), 's': (0, 32**2), 'm': (32**2, 96**2), 'l': (96**2, 1e10)}
MAX_DETECTIONS = (1, 10, 100)
IOU_TYPES = ('bbox', 'segm')
"""What overlaps are computed of: boxes or masks."""


def class_metric(name: str) -> str:
    """Return the name of a class's AP."""
    return f'AP/{name}'


def full_name(iou_type: str, metric: str) -> str:
    """Return a metric's name in :class:`~mmattn.study.Scores`, such as ``'bbox/AP50'``."""
    return f'{iou_type}/{metric}'
