"""What a graph computes that PyTorch has no operator for: NMS, and RoIAlign of several maps.

Each is an operator of PyTorch (it runs, it has shapes, ``torch.export`` keeps it) and an expression of
standard ONNX operators, which both exporters write. Shapes are those of the inputs: what is left out, masked.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor


@torch.library.custom_op(
    'mmattn::nms_mask',
    mutates_args=(),
    schema='(Tensor boxes, Tensor scores, float iou_threshold, int max_boxes) -> Tensor',
)
def nms_mask(boxes: Tensor, scores: Tensor, iou_threshold: float, max_boxes: int) -> Tensor:
    """Mark the boxes that NMS keeps.

    Args:
        boxes: ``(G, K, 4)``: corners of the boxes of each group.
        scores: ``(G, C, K)``: their scores in each class. A score of zero or less takes no part.
        iou_threshold: Greatest overlap of two kept boxes of a group and class.
        max_boxes: Keep at most this many of a group and class.

    Returns:
        ``(G, C, K)``, one where a box is kept, else zero.
    """
    from mmcv.ops import nms  # late: its compiled operators are needed here only

    mask = torch.zeros_like(scores)
    for group, classes in enumerate(scores):
        for label, each in enumerate(classes):
            candidates = (each > 0).nonzero().squeeze(1)
            if len(candidates):
                _, kept = nms(boxes[group, candidates], each[candidates], iou_threshold)
                mask[group, label, candidates[kept[:max_boxes]]] = 1
    return mask


@nms_mask.register_fake
def _(boxes, scores, iou_threshold, max_boxes):
    return torch.empty_like(scores)


@torch.library.custom_op(
    'mmattn::roi_align_levels',
    mutates_args=(),
    schema='(Tensor[] maps, Tensor rois, Tensor levels, int height, int width, float[] scales, '
    'int sampling_ratio, bool aligned) -> Tensor',
)
def roi_align_levels(
    maps: Sequence[Tensor],
    rois: Tensor,
    levels: Tensor,
    height: int,
    width: int,
    scales: Sequence[float],
    sampling_ratio: int,
    aligned: bool,
) -> Tensor:
    """Cut regions out of the maps of a pyramid, each out of one map.

    Args:
        maps: The maps, ``(N, C, H, W)`` each.
        rois: ``(R, 5)``: number of the image, corners.
        levels: ``(R,)``: which map; zeros are cut out where it is -1.
        height: Height of what is cut out.
        width: Its width.
        scales: Size of each map relative to the image.
        sampling_ratio: Samples an element and direction; 0: as many as the region has pixels.
        aligned: See ``mmcv.ops.RoIAlign``.

    Returns:
        ``(R, C, height, width)``.
    """
    from mmcv.ops import roi_align

    features = rois.new_zeros(len(rois), maps[0].shape[1], height, width)
    for level, (each, scale) in enumerate(zip(maps, scales)):
        chosen = (levels == level).nonzero().squeeze(1)
        if len(chosen):
            features[chosen] = roi_align(
                each, rois[chosen], (height, width), scale, sampling_ratio, 'avg', aligned
            )
    return features


@roi_align_levels.register_fake
def _(maps, rois, levels, height, width, scales, sampling_ratio, aligned):
    return rois.new_empty(rois.shape[0], maps[0].shape[1], height, width)


def _nms_in_onnx(op: Any, boxes, scores, iou_threshold, max_boxes):
    chosen = op.NonMaxSuppression(
        boxes,
        scores,
        op.Constant(value_ints=[max_boxes]),
        op.Constant(value_floats=[iou_threshold]),
        op.Constant(value_floats=[0.0]),
    )
    count = op.Gather(op.Shape(chosen), op.Constant(value_ints=[0]), axis=0)
    zeros = op.Expand(op.Constant(value_floats=[0.0]), op.Shape(scores))
    return op.ScatterND(zeros, chosen, op.Expand(op.Constant(value_floats=[1.0]), count))


def _roi_align_in_onnx(op: Any, maps, rois, levels, height, width, scales, sampling_ratio, aligned):
    first = op.Constant(value_ints=[0])
    second = op.Constant(value_ints=[1])
    size = op.Concat(
        op.Gather(op.Shape(rois), first, axis=0),
        op.Gather(op.Shape(maps[0]), second, axis=0),
        op.Constant(value_ints=[height, width]),
        axis=0,
    )
    features = op.Expand(op.Constant(value_floats=[0.0]), size)
    for level, (each, scale) in enumerate(zip(maps, scales)):
        found = op.NonZero(op.Equal(levels, op.Constant(value_ints=[level])))
        chosen = op.Gather(rois, op.Squeeze(found, first), axis=0)
        image = op.Squeeze(op.Gather(chosen, first, axis=1), second)
        cut = op.RoiAlign(
            each,
            op.Gather(chosen, op.Constant(value_ints=[1, 2, 3, 4]), axis=1),
            op.Cast(image, to=_INT64),
            coordinate_transformation_mode='half_pixel' if aligned else 'output_half_pixel',
            mode='avg',
            output_height=height,
            output_width=width,
            sampling_ratio=sampling_ratio,
            spatial_scale=scale,
        )
        features = op.ScatterND(features, op.Transpose(found, perm=[1, 0]), cut)
    return features


_INT64 = 7  # onnx.TensorProto.INT64


def dynamo_table() -> dict[Callable, Callable]:
    """Return these operators in ONNX, for ``torch.onnx.export(dynamo=True)``."""
    from onnxscript import opset18

    # Not partial(): the exporter reads the signature.
    def nms(boxes, scores, iou_threshold: float, max_boxes: int):
        return _nms_in_onnx(opset18, boxes, scores, iou_threshold, max_boxes)

    def roi_align(
        maps,
        rois,
        levels,
        height: int,
        width: int,
        scales: Sequence[float],
        sampling_ratio: int,
        aligned: bool,
    ):
        return _roi_align_in_onnx(opset18, maps, rois, levels, height, width, scales, sampling_ratio, aligned)

    operators = torch.ops.mmattn
    return {operators.nms_mask.default: nms, operators.roi_align_levels.default: roi_align}


def register_for_torchscript() -> None:
    """Tell ``torch.onnx.export(dynamo=False)`` these operators in ONNX."""
    from torch.onnx.symbolic_helper import parse_args

    @parse_args('v', 'v', 'f', 'i')
    def nms(g, boxes, scores, iou_threshold, max_boxes):
        return _nms_in_onnx(_TorchScriptOps(g), boxes, scores, iou_threshold, max_boxes)

    @parse_args('v', 'v', 'v', 'i', 'i', 'fs', 'i', 'b')
    def roi_align(g, maps, rois, levels, height, width, scales, sampling_ratio, aligned):
        return _roi_align_in_onnx(
            _TorchScriptOps(g),
            list(maps.node().inputs()),
            rois,
            levels,
            height,
            width,
            scales,
            sampling_ratio,
            aligned,
        )

    torch.onnx.register_custom_op_symbolic('mmattn::nms_mask', nms, 11)
    torch.onnx.register_custom_op_symbolic('mmattn::roi_align_levels', roi_align, 16)


class _TorchScriptOps:
    """ONNX operators as onnxscript has them, by the graph of the TorchScript exporter."""

    def __init__(self, graph: Any):
        self.graph = graph

    def __getattr__(self, name: str) -> Callable:
        return partial(self._op, name)

    def _op(self, name: str, *inputs: Any, **attributes: Any) -> Any:
        letters = {int: 'i', float: 'f', str: 's', list: 'i'}
        named = {f'{key}_{letters[type(value)]}': value for key, value in attributes.items()}
        return self.graph.op(name, *inputs, **named)

    def Constant(self, value_ints: Sequence[int] = (), value_floats: Sequence[float] = ()) -> Any:
        return self.graph.op('Constant', value_t=torch.tensor(list(value_ints or value_floats)))
