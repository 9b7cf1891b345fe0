"""MMDetection's Faster R-CNN as a graph: what its RPN and its RoI head compute, with fixed shapes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmattn.export.dense_head import candidates, decoded
from mmattn.export.operators import roi_align_levels
from mmattn.export.selection import NONE, at, best, detections, kept_by_nms, large_enough


class TwoStageGraph(nn.Module):
    """Detections of an RPN and a RoI head that predict as ``RPNHead`` and ``StandardRoIHead``.

    Args:
        rpn_head: The RPN, with ``test_cfg``.
        roi_head: The RoI head, with ``test_cfg``.
    """

    def __init__(self, rpn_head: nn.Module, roi_head: nn.Module):
        super().__init__()
        self.rpn_head = rpn_head
        self.roi_head = roi_head

    def forward(self, maps: Sequence[Tensor], height: int, width: int) -> tuple[Tensor, Tensor]:
        """Return ``dets`` and ``labels`` of maps of images of one size."""
        rois, found = self._proposals(maps, height, width)
        logits, deltas = self._outputs(maps, rois, found)
        return self._detections(rois, found, logits, deltas, height, width)

    def _proposals(self, maps: Sequence[Tensor], height: int, width: int) -> tuple[Tensor, Tensor]:
        """Return the corners ``(N, P, 4)`` of the regions, and which of them are there."""
        head, cfg = self.rpn_head, self.rpn_head.test_cfg
        scores, levels, _, priors, deltas, _ = candidates(head, head(maps), cfg['nms_pre'], NONE)
        boxes = decoded(head.bbox_coder, priors, deltas, height, width)
        scores = large_enough(boxes, scores, cfg.get('min_bbox_size', -1))
        count = cfg['nms_pre']  # of each level, which NMS does not compare with others
        if cfg['nms'].get('class_agnostic', False):
            count = scores.shape[1]
        kept = kept_by_nms(
            boxes.reshape(-1, count, 4),
            scores.reshape(-1, 1, count),
            cfg['nms']['iou_threshold'],
            cfg['max_per_img'],
        )
        scores, places = best(kept.reshape(scores.shape), cfg['max_per_img'])
        found = scores > 0
        return torch.where(found.unsqueeze(-1), at(boxes, places), 0.0), found

    def _outputs(self, maps: Sequence[Tensor], boxes: Tensor, found: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the head of the boxes says of each region: ``(N, P, ...)`` logits and deltas."""
        extractor = self.roi_head.bbox_roi_extractor
        layers = extractor.roi_layers
        image = torch.arange(boxes.shape[0], device=boxes.device).to(boxes.dtype)
        image = image.view(-1, 1, 1).expand(-1, boxes.shape[1], 1)
        rois = torch.cat([image, boxes], dim=-1).flatten(0, 1)
        levels = torch.where(found.flatten(), extractor.map_roi_levels(rois, len(layers)), -1)
        features = roi_align_levels(
            list(maps[: len(layers)]),
            rois,
            levels,
            *layers[0].output_size,
            [layer.spatial_scale for layer in layers],
            layers[0].sampling_ratio,
            layers[0].aligned,
        )
        if self.roi_head.with_shared_head:
            features = self.roi_head.shared_head(features)
        logits, deltas = self.roi_head.bbox_head(features)
        return logits.reshape(-1, boxes.shape[1], logits.shape[-1]), deltas.reshape(
            -1, boxes.shape[1], deltas.shape[-1]
        )

    def _detections(
        self, rois: Tensor, found: Tensor, logits: Tensor, deltas: Tensor, height: int, width: int
    ) -> tuple[Tensor, Tensor]:
        head, cfg = self.roi_head.bbox_head, self.roi_head.test_cfg
        classes, regions = head.num_classes, rois.shape[1]
        if head.custom_cls_channels:
            scores = head.loss_cls.get_activation(logits)
        else:
            scores = logits.softmax(-1)
        scores = scores[..., :-1].transpose(1, 2)  # (N, C, P)
        scores = torch.where((scores > cfg['score_thr']) & found.unsqueeze(1), scores, NONE)
        # Boxes of each class, (N, C, P, 4), though they may be the same.
        own = 1 if head.reg_class_agnostic else classes
        deltas = deltas.reshape(-1, regions, own, 4).transpose(1, 2).flatten(1, 2)
        priors = rois.unsqueeze(1).expand(-1, own, -1, -1).flatten(1, 2)
        boxes = decoded(head.bbox_coder, priors, deltas, height, width)
        boxes = boxes.reshape(-1, own, regions, 4).expand(-1, classes, -1, -1)

        count = cfg['max_per_img'] if cfg['max_per_img'] > 0 else classes * regions
        together = classes * regions if cfg['nms'].get('class_agnostic', False) else regions
        kept = kept_by_nms(
            boxes.reshape(-1, together, 4),
            scores.reshape(-1, 1, together),
            cfg['nms']['iou_threshold'],
            count,
        )
        labels = torch.arange(classes, device=scores.device).view(1, -1, 1).expand(scores.shape)
        return detections(
            boxes.flatten(1, 2), kept.reshape(scores.shape).flatten(1), labels.flatten(1), count
        )
