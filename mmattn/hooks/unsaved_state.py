"""Save what a process has beside a checkpoint: attributes of modules, and buffers that differ by process."""

from __future__ import annotations

from collections.abc import Iterator
from operator import attrgetter
from typing import Any

import numpy as np
import torch
from mmengine.dist import all_gather_object
from mmengine.hooks import EMAHook
from mmengine.runner import Runner
from torch import Tensor, nn

from mmattn.hooks.model import model_of

# Modules of MMDetection that learn during training, and the attributes that no state dict holds.
_ATTRIBUTES = dict(
    BatchSyncRandomResize=('_input_size',),
    DynamicRoIHead=(
        'iou_history',
        'beta_history',
        'bbox_assigner.pos_iou_thr',
        'bbox_assigner.neg_iou_thr',
        'bbox_assigner.min_pos_iou',
        'bbox_head.loss_bbox.beta',
    ),
)


def gather_unsaved(runner: Runner) -> list[dict[str, Any]]:
    """Return what each process has beside the checkpoint of rank 0; call it in all processes.

    Norms in training mode have statistics of their own in each process; only those that differ from
    rank 0's, which are in the checkpoint, are returned.
    """
    own = dict(
        attributes={name: _plain(attrgetter(path)(module)) for name, module, path in _attributes(runner)},
        buffers={name: value.detach().cpu() for name, value in _buffers(runner)},
    )
    gathered = all_gather_object(own)
    saved = gathered[0]['buffers']
    return [
        dict(
            attributes=each['attributes'],
            buffers={
                name: value for name, value in each['buffers'].items() if not torch.equal(value, saved[name])
            },
        )
        for each in gathered
    ]


def restore_unsaved(runner: Runner, unsaved: dict[str, Any]) -> None:
    """Give a process back what it had; call it when the checkpoint is loaded."""
    for name, module, path in _attributes(runner):
        if name in unsaved['attributes']:
            owner, _, last = path.rpartition('.')
            setattr(attrgetter(owner)(module) if owner else module, last, unsaved['attributes'][name])
    for name, value in _buffers(runner):
        if name in unsaved['buffers']:
            value.copy_(unsaved['buffers'][name])


def _attributes(runner: Runner) -> Iterator[tuple[str, nn.Module, str]]:
    for name, module in model_of(runner).named_modules():
        for path in _ATTRIBUTES.get(type(module).__name__, ()):
            yield f'{name}.{path}', module, path


def _buffers(runner: Runner) -> Iterator[tuple[str, Tensor]]:
    averaged = [hook.ema_model for hook in runner.hooks if isinstance(hook, EMAHook)]
    for number, model in enumerate([model_of(runner), *averaged]):
        for name, value in model.named_buffers():
            yield f'{number}.{name}', value


def _plain(value: Any) -> Any:
    """The same numbers without NumPy's types, which not every reader of checkpoints accepts."""
    if isinstance(value, (list, tuple)):
        return type(value)(_plain(each) for each in value)
    return value.item() if isinstance(value, np.generic) else value
