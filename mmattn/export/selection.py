"""Choose boxes by score, with shapes that do not depend on the scores: what is left out has a score of -1."""

from __future__ import annotations

import torch
from torch import Tensor

from mmattn.export.operators import nms_mask

NONE = -1.0
"""Score, corners and label of a place without a box."""


def above(scores: Tensor, threshold: float) -> Tensor:
    """Return the scores, -1 where they are not above the threshold."""
    return torch.where(scores > threshold, scores, NONE)


def best(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the ``count`` highest scores of each row, and their places.

    Args:
        scores: ``(N, K)``. K may be any number: where it is too small, a place without a box is added.
        count: How many.

    Returns:
        Scores and places, ``(N, count)`` each. The place is 0 where there is no box.
    """
    rest = scores.new_full((1, count), NONE).expand(scores.shape[0], count)
    scores, places = torch.cat([scores, rest], dim=1).topk(count, dim=1)
    return scores, torch.where(scores > 0, places, 0)


def at(values: Tensor, places: Tensor) -> Tensor:
    """Return the rows ``(N, count, D)`` at the places ``(N, count)`` of ``(N, K, D)``."""
    return values.gather(1, places.unsqueeze(-1).expand(-1, -1, values.shape[-1]))


def clipped(boxes: Tensor, height: int, width: int) -> Tensor:
    """Return boxes ``(..., 4)`` clipped to the image."""
    x = boxes[..., 0::2].clamp(min=0).clamp(max=width)
    y = boxes[..., 1::2].clamp(min=0).clamp(max=height)
    return torch.stack([x, y], dim=-1).flatten(-2)


def large_enough(boxes: Tensor, scores: Tensor, least: float) -> Tensor:
    """Return the scores, -1 where a box is not wider and higher than ``least``; all if that is below zero."""
    if least < 0:
        return scores
    width, height = boxes[..., 2] - boxes[..., 0], boxes[..., 3] - boxes[..., 1]
    return torch.where((width > least) & (height > least), scores, NONE)


def kept_by_nms(boxes: Tensor, scores: Tensor, iou_threshold: float, count: int) -> Tensor:
    """Return the scores ``(G, C, K)``, -1 where NMS drops the box."""
    return torch.where(nms_mask(boxes, scores, iou_threshold, count) > 0, scores, NONE)


def detections(boxes: Tensor, scores: Tensor, labels: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the boxes with the highest scores.

    Args:
        boxes: ``(N, K, 4)``.
        scores: ``(N, K)``.
        labels: ``(N, K)``.
        count: How many.

    Returns:
        ``dets (N, count, 5)``: corners and score; ``labels (N, count)``. Both are -1 where there is no box.
    """
    scores, places = best(scores, count)
    dets = torch.cat([at(boxes, places), scores.unsqueeze(-1)], dim=-1)
    found = scores > 0
    return torch.where(found.unsqueeze(-1), dets, NONE), torch.where(found, labels.gather(1, places), -1)
