"""What a detector costs, and its attention: parameters, arithmetic, memory for the backward pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import torch
from mmdet.structures import DetDataSample
from torch import Tensor, nn

from mmattn import ops
from mmattn.blocks import AttentionBlock
from mmattn.cost.op_count import CountOps, OpCount
from mmattn.insertion.dry_run import without_data
from mmattn.ops.switch import implementation_for

ROIS = dict(bbox=1000, mask=100)
"""Regions for which the heads of two-stage detectors are counted: what they keep at most in testing."""


@dataclass
class ModelCost:
    """Cost of a detector on one picture, counted without computing anything.

    Attributes:
        size: Height and width of the picture.
        parameters: All of them.
        trainable: Those that get a gradient.
        attention: Paths of the attention blocks, with their number of parameters.
        ops: What was counted, in evaluation; see :data:`~mmattn.cost.op_count.KINDS`.
        saved: Bytes that a training forward pass keeps for the backward pass, parameters excluded, by
            the path of the module that keeps them first.
        not_run: Parts of the model that have no count, with the reason.
    """

    size: tuple[int, int]
    parameters: int
    trainable: int
    attention: dict[str, int]
    ops: OpCount = field(default_factory=OpCount)
    saved: Counter = field(default_factory=Counter)
    not_run: dict[str, str] = field(default_factory=dict)

    @property
    def attention_parameters(self) -> int:
        return sum(self.attention.values())

    def attention_ops(self) -> int:
        """Operations within attention blocks."""
        return sum(self.ops.total(below=path) for path in self.attention)

    def saved_bytes(self) -> int:
        return sum(self.saved.values())


def model_cost(model: nn.Module, size: tuple[int, int] = (800, 1280), memory: bool = True) -> ModelCost:
    """Count what ``model`` costs on a picture of ``size``.

    The features, the dense heads, and, with :data:`ROIS` regions, the heads of a two-stage detector. What
    comes after the network is not part of it: decoding of boxes, non-maximum suppression, pasting of
    masks; nor is the pooling of regions itself.

    Args:
        model: A detector, or a part of one that is called with a picture.
        size: Height and width of the picture.
        memory: Also run it as in training, for what that keeps.
    """
    cost = ModelCost(
        tuple(size),
        sum(p.numel() for p in model.parameters()),
        sum(p.numel() for p in model.parameters() if p.requires_grad),
        {path: sum(p.numel() for p in block.parameters()) for path, block in attention_of(model)},
    )
    like = next((p for p in model.parameters() if p.is_floating_point()), torch.zeros(()))
    # What the faster ways keep is the same for all of them.
    faster = implementation_for(torch.zeros(1, 1, 1, 1, device=like.device)) != 'plain'
    with _batches_not_counted(model), without_data(model):
        with torch.no_grad(), ops.implementation('plain'):
            cost.ops, cost.not_run = _counted(model, size, like)
        if memory:
            model.train()
            with ops.implementation('aten' if faster else 'plain'), _saved_for_backward(model) as cost.saved:
                for _ in _parts(model, size, like):
                    pass
    return cost


def attention_of(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The attention blocks of ``model`` with their paths, whichever door they came by, the outermost."""
    inserted = getattr(model, 'attention', None)
    found: list[str] = []
    for path, module in model.named_modules():
        ours = isinstance(module, AttentionBlock) or (
            getattr(inserted, 'holds_attention', False)
            and path.count('.') == 1
            and path.startswith('attention.')
        )
        if ours and not any(path.startswith(f'{each}.') for each in found):
            found.append(path)
            yield path, module


def _counted(model, size, like) -> tuple[OpCount, dict[str, str]]:
    with CountOps(model) as counting:
        not_run = {
            part: f'{type(error).__name__}: ' + str(error).strip().partition('\n')[0]
            for part, error in _parts(model, size, like)
            if error is not None
        }
    return counting.count, not_run


def _parts(model: nn.Module, size, like) -> Iterator[tuple[str, Exception | None]]:
    """Run the parts of ``model`` one after the other, and tell which could not be run."""
    picture = torch.empty(1, 3, *size, device=like.device, dtype=like.dtype)
    if not isinstance(model._modules.get('backbone'), nn.Module):
        calls = [('', lambda: model(picture))]
    elif hasattr(model, 'roi_head'):  # in one go it needs boxes, which only data can give
        features = model.extract_feat(picture)
        calls = [('rpn_head', lambda: model.rpn_head(features))] if model.with_rpn else []
        calls += [('roi_head', partial(head, maps)) for head, maps in _roi_calls(model.roi_head, like)]
    else:
        calls = [('', lambda: model(picture, [_sample(size)], mode='tensor'))]
    for name, call in calls:
        try:
            call()
        except Exception as error:  # whatever a model's forward may raise; it is told
            yield name, error
        else:
            yield name, None


def _sample(size) -> DetDataSample:
    shape = tuple(size)
    return DetDataSample(
        metainfo=dict(
            img_shape=shape,
            pad_shape=shape,
            ori_shape=shape,
            batch_input_shape=shape,
            scale_factor=(1.0, 1.0),
        )
    )


def _roi_calls(roi_head: nn.Module, like: Tensor) -> Iterator[tuple[nn.Module, Tensor]]:
    """Each head of a two-stage detector with what its regions give it."""
    for kind, regions in ROIS.items():
        heads, extractors = (getattr(roi_head, f'{kind}_{what}', None) for what in ('head', 'roi_extractor'))
        heads = [each for each in _listed(heads) if isinstance(each, nn.Module)]
        # A mask head without an extractor of its own takes the regions of the boxes.
        extractors = _listed(extractors) if extractors is not None else _listed(roi_head.bbox_roi_extractor)
        for head, extractor in zip(heads, extractors):
            output_size = extractor.roi_layers[0].output_size
            maps = torch.empty(
                regions, extractor.out_channels, *output_size, device=like.device, dtype=like.dtype
            )
            yield head, roi_head.shared_head(maps) if roi_head.with_shared_head else maps


def _listed(value) -> list:
    return list(value) if isinstance(value, (list, nn.ModuleList)) else [value]


@contextmanager
def _batches_not_counted(model: nn.Module):
    """A norm in training counts its batches, without data too."""
    before = [(each, each.clone()) for each in model.buffers() if each.dim() == 0]
    try:
        yield
    finally:
        for each, value in before:
            each.copy_(value)


@contextmanager
def _saved_for_backward(model: nn.Module):
    """A context in which bytes that autograd keeps are counted, each storage once."""
    saved: Counter = Counter()
    stored = [*model.parameters(), *model.buffers()]
    stored += [each.detach() for each in stored]  # within a FakeTensorMode, what stands in for them
    own = {each.untyped_storage()._cdata for each in stored}
    kept: list[Tensor] = []  # alive, so that no other one gets its address
    seen: set[int] = set()
    inside = CountOps(model)

    def pack(tensor):
        if isinstance(tensor, nn.Parameter):
            return tensor
        storage = tensor.untyped_storage()
        if storage._cdata not in own | seen:
            seen.add(storage._cdata)
            kept.append(tensor)
            saved[inside.where] += storage.nbytes()
        return tensor

    with inside, torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield saved
