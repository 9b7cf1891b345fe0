"""MMDetection's dense heads as a graph: what ``BaseDenseHead.predict_by_feat`` does, with fixed shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmdet.structures.bbox import get_box_tensor
from torch import Tensor, nn

from mmattn.export.selection import NONE, above, at, best, clipped, detections, kept_by_nms, large_enough


class DenseHeadGraph(nn.Module):
    """Detections of a head that predicts as :class:`~mmdet.models.dense_heads.base_dense_head.BaseDenseHead`.

    Args:
        head: The head, with ``test_cfg``.
    """

    def __init__(self, head: nn.Module):
        super().__init__()
        self.head = head
        self.cfg: Mapping[str, Any] = head.test_cfg

    def forward(self, maps: Sequence[Tensor], height: int, width: int) -> tuple[Tensor, Tensor]:
        """Return ``dets`` and ``labels`` of maps of images of one size."""
        head, cfg = self.head, self.cfg
        scores, _, labels, priors, deltas, factors = candidates(
            head, head(maps), cfg['nms_pre'], cfg['score_thr']
        )
        boxes = decoded(head.bbox_coder, priors, deltas, height, width)
        if factors is not None:
            scores = torch.where(scores > 0, scores * factors, NONE)
        scores = large_enough(boxes, scores, cfg.get('min_bbox_size', -1))
        per_class = scores.unsqueeze(1)
        if not cfg['nms'].get('class_agnostic', False):
            classes = torch.arange(head.cls_out_channels, device=labels.device).view(1, -1, 1)
            per_class = torch.where(labels.unsqueeze(1) == classes, per_class, NONE)
        count = cfg['max_per_img']
        kept = kept_by_nms(boxes, per_class, cfg['nms']['iou_threshold'], count)
        return detections(boxes, kept.amax(dim=1), labels, count)


def candidates(
    head: nn.Module, outputs: Sequence[Sequence[Tensor]], count: int, threshold: float
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor | None]:
    """Return the pairs of prior and class with the highest scores of each level.

    Args:
        head: A dense head.
        outputs: What its forward pass returns: for each level scores, boxes and, in some, factors of scores.
        count: How many of each level.
        threshold: Only those with a score above.

    Returns:
        Scores, levels, classes, priors, what the head says of their boxes, and factors of their scores: N
        rows of ``count`` times the number of levels.
    """
    cls_scores, bbox_preds, *rest = outputs
    priors = head.prior_generator.grid_priors(
        [each.shape[-2:] for each in cls_scores], dtype=cls_scores[0].dtype, device=cls_scores[0].device
    )
    factors = rest[0] if rest else [None] * len(cls_scores)
    found = [
        _of_level(head, level, *each, count, threshold)
        for level, each in enumerate(zip(cls_scores, bbox_preds, factors, priors))
    ]
    *columns, factors = zip(*found)
    columns = [torch.cat(column, dim=1) for column in columns]
    return *columns, torch.cat(factors, dim=1) if rest else None


def _of_level(
    head: nn.Module,
    level: int,
    cls_score: Tensor,
    bbox_pred: Tensor,
    factor: Tensor | None,
    priors: Tensor,
    count: int,
    threshold: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor | None]:
    scores = _scores(head, _per_prior(cls_score, head.cls_out_channels))
    classes = scores.shape[-1]
    scores, places = best(above(scores.flatten(1), threshold), count)
    prior = torch.div(places, classes, rounding_mode='trunc')
    deltas = at(_per_prior(bbox_pred, head.bbox_coder.encode_size), prior)
    if factor is not None:
        factor = _per_prior(factor, 1).squeeze(-1).sigmoid().gather(1, prior)
    return (
        scores,
        torch.full_like(places, level),
        places - prior * classes,
        get_box_tensor(priors)[prior],
        deltas,
        factor,
    )


def _per_prior(level: Tensor, channels: int) -> Tensor:
    """Return ``(N, A * channels, H, W)`` as ``(N, H * W * A, channels)``, in the order of the priors."""
    return level.permute(0, 2, 3, 1).reshape(level.shape[0], -1, channels)


def _scores(head: nn.Module, logits: Tensor) -> Tensor:
    if getattr(head.loss_cls, 'custom_cls_channels', False):
        return head.loss_cls.get_activation(logits)
    return logits.sigmoid() if head.use_sigmoid_cls else logits.softmax(-1)[..., :-1]


def decoded(coder: Any, priors: Tensor, deltas: Tensor, height: int, width: int) -> Tensor:
    """Return the boxes ``(N, K, 4)`` that a coder of MMDetection makes of priors and deltas, in the image.

    The coder does not clip: in an export, that of MMDetection imports a module that is gone.
    """
    flat = coder.decode(priors.flatten(0, 1), deltas.flatten(0, 1), max_shape=None)
    boxes = get_box_tensor(flat).reshape(*deltas.shape[:-1], 4)
    return clipped(boxes, height, width) if coder.clip_border else boxes
