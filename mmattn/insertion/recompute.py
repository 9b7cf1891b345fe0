"""Compute frozen stages again in the backward pass, instead of keeping what attention needs of them.

A stage that does not train keeps nothing for the backward pass, until attention in it trains: then gradients
pass through it, and PyTorch keeps the input of each of its layers. Here it keeps the stage's input.

The stage's class is replaced by a subclass, as a block's is, so that copies and pickles of the model follow.
Whether a call is computed again is decided in that call: the stage may be frozen later, or trained.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mmattn import ops
from mmattn._private_apis import forward_ad_level, functorch_level
from mmattn.blocks.clips import clip_blocks
from mmattn.insertion.attention import Attention
from mmattn.insertion.frozen_stages import frozen_stages
from mmattn.insertion.log import log_frozen_stages
from mmattn.insertion.mixed_class import mixed_class, reduce_mixed
from mmattn.ops.dispatch import chosen
from mmattn.ops.tensors import is_exporting

_REFERENCE, _SUFFIX = '_mmattn_recompute', 'Recomputed'


class _Recompute:
    """What a stage knows of the model's attention."""

    def __init__(self, attention: Attention, keys: tuple[str, ...]):
        self.attention = attention
        self.keys = keys

    def blocks(self) -> list[nn.Module]:
        return [self.attention[key] for key in self.keys]

    def is_due(self, stage: nn.Module, args: tuple) -> bool:
        """Return True if this call would keep what a frozen stage does not keep without attention."""
        if not self.attention.training or not torch.is_grad_enabled() or _is_captured():
            return False
        if any(parameter.requires_grad for parameter in stage.parameters()) or _is_checkpointed(stage):
            return False
        needed = [each for each in args if isinstance(each, Tensor)]
        needed += [parameter for block in self.blocks() for parameter in block.parameters()]
        return any(each.requires_grad for each in needed)


def _is_captured() -> bool:
    """True where a graph is exported, or differentiated in a way that allows no hooks of saved tensors."""
    if torch.compiler.is_compiling():
        return is_exporting()
    return torch.jit.is_tracing() or functorch_level() is not None or forward_ad_level() >= 0


def _is_checkpointed(stage: nn.Module) -> bool:
    """True if parts are computed again already: by ``with_cp``, or by MMEngine, which sets ``forward``."""
    return any(getattr(each, 'with_cp', False) or 'forward' in vars(each) for each in stage.modules())


class RecomputedStage:
    """Mixin of a stage that may be computed again; it is combined with the stage's own class."""

    def forward(self, *args, **kwargs):
        forward = super().forward
        recompute = vars(self).get(_REFERENCE)
        if recompute is None or not recompute.is_due(self, args):
            return forward(*args, **kwargs)
        if torch.compiler.is_compiling():  # in its graph, what a call changes is changed once
            return checkpoint(forward, *args, use_reentrant=False, **kwargs)
        contexts = functools.partial(_contexts, self, recompute)
        return checkpoint(forward, *args, use_reentrant=False, context_fn=contexts, **kwargs)

    def __reduce_ex__(self, protocol):
        return reduce_mixed(self, _SUFFIX)


def _contexts(
    stage: nn.Module, recompute: _Recompute
) -> tuple[AbstractContextManager, AbstractContextManager]:
    """Return the contexts of the first computation, which begins, and of the second one."""
    blocks = recompute.blocks()
    modules = [each for part in (stage, *blocks) for each in part.modules() if each.training]
    buffers = [
        (module, name, buffer.clone())
        for module in modules
        for name, buffer in module.named_buffers(recurse=False, remove_duplicate=False)
    ]
    clips = recompute.attention.clips
    waiting = [each for block in blocks for each in clip_blocks(block) if each.wants_clips]
    return nullcontext(), _Again(buffers, waiting, clips, chosen())


class _Again:
    """Context that gives a second computation the first one's buffers, clips and backend.

    What norms write goes to copies, so that their statistics see a batch once. A graph that is kept enters it
    again in each backward pass.
    """

    def __init__(self, state: list, waiting: list, clips: tuple[int, int] | None, backend: str):
        self._state = state
        self._waiting = waiting
        self._clips = clips
        self._backend = backend

    def __enter__(self):
        with ExitStack() as after:
            for module, name, value in self._state:
                after.callback(setattr, module, name, getattr(module, name))
                setattr(module, name, value.clone())
            for block in self._waiting:
                after.callback(block.set_clips, None)
                block.set_clips(self._clips)
            after.enter_context(ops.backend(self._backend))
            self._after = after.pop_all()

    def __exit__(self, *error):
        self._after.close()


def update(model: nn.Module) -> None:
    """Make the frozen stages that gradients of attention pass compute again, and say once which they are.

    Called when attention is attached and when training starts.
    """
    attention = model.attention
    if attention.frozen_detector_params is not None and not attention.recompute:
        return  # freeze_detector: the whole detector is frozen, and was asked to be
    found = list(frozen_stages(model))
    new = [stage for stage in found if stage.path not in attention.frozen_stages_logged]
    attention.frozen_stages_logged |= {stage.path for stage in new}
    if new:
        log_frozen_stages([stage.path for stage in new], attention.recompute is not False)
    for stage in found if attention.recompute is not False else []:
        if not isinstance(stage.module, RecomputedStage):
            stage.module.__class__ = mixed_class(RecomputedStage, type(stage.module), _SUFFIX)
        vars(stage.module)[_REFERENCE] = _Recompute(attention, stage.keys)


@contextmanager
def switched(model: nn.Module, recompute: bool) -> Iterator[None]:
    """Set the option ``recompute`` of a model with attention within this context."""
    attention = model.attention
    before, attention.recompute = attention.recompute, recompute
    take(model)
    update(model)
    try:
        yield
    finally:
        attention.recompute = before
        take(model)
        update(model)


def changed(model: nn.Module) -> list[str]:
    """Return the paths of recomputed stages whose class has been changed since :func:`update`."""
    return [
        path
        for path, module in model.named_modules()
        if isinstance(module, RecomputedStage) and type(module).__bases__[0] is not RecomputedStage
    ]


def take(model: nn.Module) -> None:
    """Undo :func:`update`."""
    for module in model.modules():
        if isinstance(module, RecomputedStage):
            vars(module).pop(_REFERENCE, None)
            module.__class__ = type(module).__bases__[1]
