"""Rules about which boxes MMDetection trains on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mmattn.engine.data.examination import Examination
from mmattn.engine.data.findings import REFUSE, TELL, Finding

_CROWDS = 'are crowds'
_OTHERS = 'are of no configured class'
"""Other rules tell of these."""


def unusable_boxes_are_told(data: Examination) -> Iterator[Finding]:
    """Tell how many boxes MMDetection drops, for each reason."""
    boxes = data.boxes
    for reason, which in boxes.unusable().items():
        if reason != _OTHERS and (reason != _CROWDS or which.mean() > 0.1):  # of COCO's, one in a hundred
            yield Finding(
                TELL,
                f'{which.sum()} of {len(boxes)} boxes {reason}: MMDetection leaves them out',
                boxes.named(which),
            )


def none_is_usable(examinations: Sequence[Examination]) -> Finding | None:
    """Return that no data set of a part has a usable box, with the reasons; None if one has."""
    wanting = [data for data in examinations if data.source.wants_boxes and data.source.folder is not None]
    if not wanting or any(data.partial or data.boxes.usable().any() for data in wanting):
        return None
    reasons = []
    for data in wanting:
        count = len(data.annotations)
        if not count:
            reasons.append('it has no annotations')
        elif len(data.boxes) < count:
            reasons.append(f'{count - len(data.boxes)} of {count} boxes belong to no listed image')
        reasons.extend(
            f'{which.sum()} of {count} boxes {reason}' for reason, which in data.boxes.unusable().items()
        )
    source = wanting[0].source
    evaluates = source.part != 'train'
    files = ', '.join(f"'{data.source.path}'" for data in wanting)
    return Finding(
        REFUSE,
        f'{source.part}_dataloader has no box to {"compare with" if evaluates else "train on"} in {files}: '
        f'{", ".join(reasons)}',
        remedy=(
            'Give a file with annotations, or switch evaluation off: --cfg-options val_dataloader=None '
            'val_cfg=None val_evaluator=None in training, test_evaluator.format_only=True '
            'test_evaluator.outfile_prefix=PREFIX in testing'
            if evaluates
            else ''
        ),
    )
