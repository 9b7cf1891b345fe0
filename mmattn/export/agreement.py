"""How far two detectors agree: detections matched one to one, and the largest differences."""

from __future__ import annotations

from dataclasses import dataclass, field

from mmdet.structures.bbox import bbox_overlaps
from mmengine.structures import InstanceData

IOU, SCORE = 0.999, 1e-4
"""Detections are the same from this overlap on, and up to this difference of scores."""


@dataclass
class Agreement:
    """How far the detections of two detectors are the same.

    Attributes:
        images: Number of images.
        detections: Number of detections of the first.
        others: Number of detections of the second.
        matched: How many have the same one in the other.
        corner: Largest difference of a corner of these, in pixels.
        score: Largest difference of their scores.
        unmatched: Number of the image, label and score of each without one.
    """

    images: int = 0
    detections: int = 0
    others: int = 0
    matched: int = 0
    corner: float = 0.0
    score: float = 0.0
    unmatched: list[tuple[int, int, float]] = field(default_factory=list)

    @property
    def share(self) -> float:
        """Share of the detections of both that have the same one in the other."""
        total = self.detections + self.others
        return 2 * self.matched / total if total else 1.0

    def add(self, first: InstanceData, second: InstanceData) -> None:
        """Compare the detections of one image."""
        pairs = matches(first, second)
        for i, j in pairs:
            self.corner = max(self.corner, float((first.bboxes[i] - second.bboxes[j]).abs().max()))
            self.score = max(self.score, float((first.scores[i] - second.scores[j]).abs()))
        for instances, side in ((first, 0), (second, 1)):
            paired = {pair[side] for pair in pairs}
            self.unmatched += [
                (self.images, int(instances.labels[i]), float(instances.scores[i]))
                for i in range(len(instances))
                if i not in paired
            ]
        self.images += 1
        self.detections += len(first)
        self.others += len(second)
        self.matched += len(pairs)

    def __str__(self) -> str:
        return (
            f'{self.images} images: {self.detections} detections by PyTorch, {self.others} by the file, '
            f'{self.share:.2%} the same (IoU at least {IOU}, scores within {SCORE:g}); largest difference '
            f'{self.corner:.2g} px, {self.score:.2g} in score'
        )


def matches(first: InstanceData, second: InstanceData) -> list[tuple[int, int]]:
    """Return pairs of the same detection, each in at most one pair, those with the greatest overlap first."""
    if not len(first) or not len(second):
        return []
    overlaps = bbox_overlaps(first.bboxes, second.bboxes)
    same = (first.labels[:, None] == second.labels[None]) & (overlaps >= IOU)
    same &= (first.scores[:, None] - second.scores[None]).abs() <= SCORE
    pairs, taken = [], (set(), set())
    rows, columns = same.nonzero(as_tuple=True)
    for place in overlaps[rows, columns].argsort(descending=True, stable=True):
        i, j = int(rows[place]), int(columns[place])
        if i not in taken[0] and j not in taken[1]:
            pairs.append((i, j))
            taken[0].add(i)
            taken[1].add(j)
    return pairs
