"""The detections of one run, in columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class Detections:
    """The detections of one run, in the order of their file, which decides between equal scores.

    Args:
        images: The image of each, as a number in the :class:`GroundTruth`, (detections,).
        classes: The class of each, as a number there, (detections,).
        boxes: ``x, y, width, height``, (detections, 4).
        scores: The confidence of each, (detections,).
        areas: The area of each, by which COCO takes false ones as small, medium or large: that of the box,
            or of the mask if masks are evaluated.
        masks: Compressed run lengths; None for an evaluation of boxes.
        notes: How the file was read, where that was not as the COCO format says.
    """

    images: np.ndarray
    classes: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray
    areas: np.ndarray
    masks: list[dict[str, Any]] | None = None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.scores)

    def of_class(self, number: int) -> Detections:
        """Return those of one class."""
        chosen = np.flatnonzero(self.classes == number)
        columns = {
            name: getattr(self, name)[chosen] for name in ('images', 'classes', 'boxes', 'scores', 'areas')
        }
        masks = None if self.masks is None else [self.masks[each] for each in chosen]
        return Detections(**columns, masks=masks)
