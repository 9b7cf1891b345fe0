"""Rules about masks, for pipelines that load them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmattn.engine.data.examination import Examination
from mmattn.engine.data.findings import REFUSE, TELL, Finding
from mmattn.engine.data.values import is_polygon


def masks_are_there(data: Examination) -> Iterator[Finding]:
    """Each box to train on has a mask; MMDetection would stop at the first that has none."""
    if not data.source.wants_masks:
        return
    usable = [data.boxes.annotations[i] for i in data.boxes.usable().nonzero()[0]]
    usable += [annotation for annotation in data.boxes.annotations if annotation['iscrowd']]
    without = [annotation for annotation in usable if not annotation.get('segmentation')]
    broken = [each for each in usable if each.get('segmentation') and not _is_mask(each['segmentation'])]
    if without:
        yield Finding(
            REFUSE,
            f'{len(without)} of {len(usable)} boxes have no segmentation, but the pipeline loads masks '
            '(LoadAnnotations with with_mask=True)',
            [f'id {annotation.get("id")}' for annotation in without],
            'Export them with polygons, or use a config without masks',
        )
    if broken:
        yield Finding(
            TELL,
            f'{len(broken)} of {len(usable)} segmentations are neither polygons of three points or more nor '
            'RLE: MMDetection does not train on these boxes',
            [f'id {annotation.get("id")}' for annotation in broken],
        )


def _is_mask(mask: Any) -> bool:
    if isinstance(mask, list):
        return any(map(is_polygon, mask))
    return (
        isinstance(mask, dict)
        and mask.get('size') is not None
        and isinstance(mask.get('counts'), (list, str))
    )
