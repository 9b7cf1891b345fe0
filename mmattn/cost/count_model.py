"""Count what a detector and its attention cost: parameters, operations, memory for the backward pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import torch
from mmdet.structures import DetDataSample
from torch import Tensor, nn

from mmattn import ops
from mmattn.blocks import AttentionBlock
from mmattn.blocks.outermost import outermost
from mmattn.cost.op_count import CountOps, OpCount
from mmattn.cost.saved_memory import saved_for_backward
from mmattn.insertion.attention import Attention
from mmattn.insertion.attention_model import AttentionModel
from mmattn.insertion.fake_tensors import without_data
from mmattn.insertion.frozen_stages import frozen_stages
from mmattn.insertion.recompute import RecomputedStage, switched
from mmattn.ops.dispatch import backend_for

ROIS = dict(bbox=1000, mask=100)
"""Number of regions that two-stage heads are counted for: the most that MMDetection keeps in testing."""


@dataclass(frozen=True)
class FrozenStagesCost:
    """What attention that trains in frozen stages has to do with the memory kept for the backward pass.

    Attributes:
        paths: Paths of the frozen stages through which attention sends gradients.
        recompute: True if they are computed again in the backward pass.
        saved_otherwise: Bytes that the whole model keeps with the other choice of ``recompute``.
    """

    paths: tuple[str, ...]
    recompute: bool
    saved_otherwise: int


@dataclass
class ModelCost:
    """Cost of a detector on one image, counted without computing anything.

    Attributes:
        size: Height and width of the image.
        parameters: Number of parameters.
        trainable: Number of parameters that get a gradient.
        attention: Number of parameters of each attention block, by its path.
        ops: Operations in eval mode; see :data:`~mmattn.cost.op_count.OP_CATEGORIES`.
        saved: Bytes that a forward pass in training keeps for the backward pass, without parameters, by the
            path of the module that keeps them first.
        frozen_stages: What attention in frozen stages costs; ``None`` if none trains there.
        not_run: Parts of the model that could not be run and so are not counted, with the reason.
    """

    size: tuple[int, int]
    parameters: int
    trainable: int
    attention: dict[str, int]
    ops: OpCount = field(default_factory=OpCount)
    saved: Counter = field(default_factory=Counter)
    frozen_stages: FrozenStagesCost | None = None
    not_run: dict[str, str] = field(default_factory=dict)

    @property
    def attention_parameters(self) -> int:
        """Parameters of attention blocks."""
        return sum(self.attention.values())

    def attention_ops(self) -> int:
        """Return the operations of attention blocks."""
        return sum(self.ops.total(below=path) for path in self.attention)

    def saved_bytes(self) -> int:
        """Return all bytes kept for the backward pass."""
        return sum(self.saved.values())


def model_cost(model: nn.Module, size: tuple[int, int] = (800, 1280), memory: bool = True) -> ModelCost:
    """Count what ``model`` costs on an image of ``size``.

    Counted are backbone, neck and dense heads, and the heads of a two-stage detector on 1000 regions (100 for
    masks). Not counted are the pooling of regions and what follows the network: decoding of boxes,
    non-maximum suppression, pasting of masks.

    Args:
        model: A detector, or a part of one that is called with an image.
        size: Height and width of the image.
        memory: Also count what a forward pass in training keeps for the backward pass.

    Example:
        >>> from mmdet.models import ResNet
        >>> from mmattn.cost import model_cost
        >>> model_cost(ResNet(18), (224, 224)).parameters
        11176512
    """
    cost = ModelCost(
        tuple(size),
        sum(p.numel() for p in model.parameters()),
        sum(p.numel() for p in model.parameters() if p.requires_grad),
        {path: sum(p.numel() for p in block.parameters()) for path, block in attention_of(model)},
    )
    like = next((p for p in model.parameters() if p.is_floating_point()), torch.zeros(()))
    example = torch.zeros(1, 2, 1, 1, device=like.device)
    faster = backend_for(example) != 'plain'  # all others keep the same
    counting_tails = ops.tails_counter(example)
    with _scalar_buffers_restored(model), without_data(model):
        with torch.no_grad(), ops.backend('plain'):
            cost.ops, cost.not_run = _counted(model, size, like)
        if memory:
            with ops.backend('aten' if faster else 'plain'), counting_tails():
                cost.saved = _saved(model, size, like)
                cost.frozen_stages = _frozen_stages(model, lambda: _saved(model, size, like))
    return cost


def _saved(model: nn.Module, size, like: Tensor) -> Counter:
    model.train()
    with saved_for_backward(model) as saved:
        for _ in _parts(model, size, like):
            pass
    return saved


def _frozen_stages(model: nn.Module, count: Callable[[], Counter]) -> FrozenStagesCost | None:
    stages = list(frozen_stages(model)) if isinstance(model, AttentionModel) else []
    if not stages:
        return None
    recompute = isinstance(stages[0].module, RecomputedStage)
    with switched(model, not recompute):
        otherwise = sum(count().values())
    return FrozenStagesCost(tuple(stage.path for stage in stages), recompute, otherwise)


def attention_of(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield the outermost attention blocks of ``model`` with their paths, however they were put there."""
    has_sites = isinstance(getattr(model, 'attention', None), Attention)

    def is_block(path: str, module: nn.Module) -> bool:
        at_site = has_sites and path.count('.') == 1 and path.startswith('attention.')
        return at_site or isinstance(module, AttentionBlock)

    return outermost(model, is_block)


def _counted(model, size, like) -> tuple[OpCount, dict[str, str]]:
    with CountOps(model) as counting:
        not_run = {
            part: f'{type(error).__name__}: ' + str(error).strip().partition('\n')[0]
            for part, error in _parts(model, size, like)
            if error is not None
        }
    return counting.count, not_run


def _parts(model: nn.Module, size, like) -> Iterator[tuple[str, Exception | None]]:
    """Run the parts of ``model`` one by one; yield each part's name, and the error if it could not be run."""
    image = torch.empty(1, 3, *size, device=like.device, dtype=like.dtype)
    if 'backbone' not in dict(model.named_children()):
        calls = [('', lambda: model(image))]
    elif hasattr(model, 'roi_head'):  # as a whole it needs boxes, which only real data can give
        features = model.extract_feat(image)
        calls = [('rpn_head', lambda: model.rpn_head(features))] if model.with_rpn else []
        calls += [('roi_head', partial(head, maps)) for head, maps in _roi_calls(model.roi_head, like)]
    else:
        calls = [('', lambda: model(image, [_sample(size)], mode='tensor'))]
    for name, call in calls:
        try:
            call()
        except Exception as error:  # a model's forward may raise anything; the error is reported
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
    """Yield each head of a two-stage detector with its input, one map per region."""
    for task, regions in ROIS.items():
        heads, extractors = (getattr(roi_head, f'{task}_{part}', None) for part in ('head', 'roi_extractor'))
        heads = [each for each in _listed(heads) if isinstance(each, nn.Module)]
        # a mask head without its own extractor takes the regions of the boxes
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
def _scalar_buffers_restored(model: nn.Module):
    """Undo what a run in training mode counts up, such as ``num_batches_tracked`` of norms."""
    before = [(each, each.clone()) for each in model.buffers() if each.dim() == 0]
    try:
        yield
    finally:
        for each, value in before:
            each.copy_(value)
