"""Which detectors can be exported: those whose methods are the ones that this package has for a graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from mmcv.ops import RoIAlign
from mmdet.models import (
    BBoxHead,
    DetDataPreprocessor,
    RPNHead,
    SingleRoIExtractor,
    SingleStageDetector,
    StandardRoIHead,
    TwoStageDetector,
)
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from torch import nn

from mmattn._private_apis import PREDICTION_STEPS, ROI_STEPS
from mmattn.export.dense_head import DenseHeadGraph
from mmattn.export.detector import DetectorGraph
from mmattn.export.two_stage import TwoStageGraph

POSSIBLE = (
    'Possible are detectors with one dense head that predicts as BaseDenseHead (RetinaNet, FCOS, ATSS, '
    'RTMDet, ...) and Faster R-CNN. docs/export.md says what else there is'
)
_NMS_OPTIONS = {'type', 'iou_threshold', 'class_agnostic', 'split_thr'}


class CannotExport(ValueError):
    """A detector cannot be exported, or not as asked."""


class _Design(NamedTuple):
    """A way in which detectors predict, and the module that does so in a graph."""

    detector: type
    graph: Callable[[nn.Module], nn.Module]
    against: Callable[[nn.Module], Iterator[str]]


def detector_graph(model: nn.Module, normalize: bool = True) -> DetectorGraph:
    """Return a detector as a graph to export.

    Args:
        model: A detector of MMDetection, with or without attention.
        normalize: See :class:`~mmattn.export.detector.DetectorGraph`.

    Raises:
        CannotExport: If its predictions are not made in a way that is known here; with the reasons.
    """
    name = detector_name(model)
    design = next((each for each in _DESIGNS if _same(model, each.detector, 'predict')), None)
    if design is None:
        raise CannotExport(
            f'{name} cannot be exported: it predicts in its own way (its predict() is neither of '
            f'{" nor of ".join(each.detector.__name__ for each in _DESIGNS)}). {POSSIBLE}'
        )
    reasons = [*design.against(model), *_against_preprocessor(model.data_preprocessor)]
    if reasons:
        raise CannotExport(f'{name} cannot be exported: {"; ".join(reasons)}. {POSSIBLE}')
    return DetectorGraph(model, design.graph(model), normalize)


def detector_name(model: nn.Module) -> str:
    """Return the class of a detector, without attention."""
    return getattr(getattr(model, 'attention', None), 'detector', type(model).__name__)


def _same(module: nn.Module, base: type, *methods: str) -> bool:
    """True if these methods of a module are those of the class."""
    return all(getattr(type(module), name, None) is getattr(base, name) for name in methods)


def _other(module: nn.Module, base: type, *methods: str) -> Iterator[str]:
    own = [name for name in methods if not _same(module, base, name)]
    if own:
        yield f'{type(module).__name__} has its own {", ".join(own)}, not that of {base.__name__}'


def _against_single_stage(model: nn.Module) -> Iterator[str]:
    yield from _against_dense(model.bbox_head, BaseDenseHead, 'the head')
    if model.bbox_head.test_cfg and not model.bbox_head.test_cfg.get('max_per_img', 0) > 0:
        yield 'test_cfg.max_per_img of the head sets no limit, and an output needs a size'
    if (model.bbox_head.test_cfg or {}).get('min_bbox_size', 0) > 0:
        yield (
            f'test_cfg.min_bbox_size={model.bbox_head.test_cfg.min_bbox_size} is of the image before it was '
            'resized, which a graph does not know; set it to 0'
        )


def _against_dense(head: nn.Module, base: type, where: str) -> Iterator[str]:
    yield from _other(head, BaseDenseHead, 'predict', 'predict_by_feat')
    yield from _other(head, base, *PREDICTION_STEPS)
    if not isinstance(getattr(head, 'loss_cls', None), nn.Module) or not hasattr(head, 'bbox_coder'):
        yield f'{type(head).__name__} has no loss_cls or no bbox_coder'
        return
    yield from _against_coder(head.bbox_coder)
    cfg = head.test_cfg or {}
    if not cfg.get('nms_pre', 0) > 0:
        yield f'test_cfg.nms_pre of {where} sets no limit, and NMS in a graph needs one'
    yield from _against_nms(cfg, where)


def _against_two_stage(model: nn.Module) -> Iterator[str]:
    if not model.with_rpn or not model.with_roi_head:
        yield 'it has no RPN or no RoI head'
        return
    yield from _against_dense(model.rpn_head, RPNHead, 'the RPN')
    roi_head = model.roi_head
    if getattr(roi_head, 'with_mask', False):
        yield 'it predicts masks, which the file would drop'
    yield from _other(roi_head, StandardRoIHead, 'predict', 'predict_bbox', *ROI_STEPS)
    if not getattr(roi_head, 'with_bbox', False) or isinstance(roi_head.bbox_head, nn.ModuleList):
        yield f'{type(roi_head).__name__} has not one head of boxes'
        return
    yield from _other(roi_head.bbox_head, BBoxHead, 'predict_by_feat', PREDICTION_STEPS[0])
    if not roi_head.bbox_head.with_reg or not roi_head.bbox_head.with_cls:
        yield f'{type(roi_head.bbox_head).__name__} has no scores or no boxes'
    else:
        yield from _against_coder(roi_head.bbox_head.bbox_coder)
    yield from _against_extractor(roi_head.bbox_roi_extractor)
    yield from _against_nms(roi_head.test_cfg or {}, 'the RoI head')


def _against_extractor(extractor: nn.Module) -> Iterator[str]:
    yield from _other(extractor, SingleRoIExtractor, 'forward')
    layers = list(getattr(extractor, 'roi_layers', []))
    if not all(type(layer) is RoIAlign and layer.pool_mode == 'avg' for layer in layers):
        yield f'{type(extractor).__name__} does not use RoIAlign with averages'


def _against_coder(coder: Any) -> Iterator[str]:
    if getattr(coder, 'encode_size', 4) != 4 or not hasattr(coder, 'clip_border'):
        yield f'{type(coder).__name__} does not decode boxes of four numbers'


def _against_nms(cfg: Mapping[str, Any], where: str) -> Iterator[str]:
    nms = cfg.get('nms') or {}
    if nms.get('type') != 'nms' or 'iou_threshold' not in nms:
        yield f'{where} uses nms={dict(nms) or None}, and ONNX has nms of type nms with an iou_threshold'
    elif more := sorted(set(nms) - _NMS_OPTIONS):
        yield f'nms of {where} has {", ".join(more)}, which that of ONNX has not'


def _against_preprocessor(preprocessor: nn.Module) -> Iterator[str]:
    yield from _other(preprocessor, DetDataPreprocessor, 'forward')


_DESIGNS = (
    _Design(SingleStageDetector, lambda model: DenseHeadGraph(model.bbox_head), _against_single_stage),
    _Design(
        TwoStageDetector, lambda model: TwoStageGraph(model.rpn_head, model.roi_head), _against_two_stage
    ),
)
