"""Warn at the first training step of attention that does not train, whoever runs the loop.

One hook before the steps of all optimizers is registered in a process, and does nothing once each model with
attention has been looked at. It refers to models weakly.
"""

from __future__ import annotations

import functools
import gc
import logging
from weakref import WeakSet, ref

from mmengine.logging import print_log
from torch import nn
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_pre_hook

_Watch = tuple[ref, ref]  # to a model and its attention


def _is_over(watch: _Watch, optimizer: Optimizer) -> bool:
    """Warn if an optimizer trains a model whose attention none has; return True once that is known."""
    model, attention = (each() for each in watch)
    if model is None or attention is None or getattr(model, 'attention', None) is not attention:
        return True
    if _parameters_of(optimizer).isdisjoint(map(id, model.parameters())):
        return False  # of another model
    trained = {id(p) for p in attention.parameters() if p.requires_grad}
    if not trained <= _parameters_of(optimizer):
        # One of several, maybe, whose turns come later: ask all that there are.
        optimizers = [each for each in gc.get_objects() if issubclass(type(each), Optimizer)]
        missing = trained.difference(*map(_parameters_of, optimizers))
        if missing:
            _warn(len(missing), len(trained))
    return True


def _parameters_of(optimizer: Optimizer) -> set[int]:
    return {id(p) for group in optimizer.param_groups for p in group['params']}


_watches: list[_Watch] = []
_watched: WeakSet[nn.Module] = WeakSet()


def watch_training(model: nn.Module) -> None:
    """Warn when an optimizer steps that trains ``model`` without its attention; once for each model."""
    if model.attention in _watched:
        return
    _register()
    _watched.add(model.attention)
    _watches.append((ref(model), ref(model.attention)))


@functools.cache
def _register() -> None:
    register_optimizer_step_pre_hook(_before_step)


def _before_step(optimizer: Optimizer, args: tuple, kwargs: dict) -> None:
    if _watches:
        _watches[:] = [watch for watch in _watches if not _is_over(watch, optimizer)]


def _warn(missing: int, count: int) -> None:
    print_log(
        f'ATTENTION DOES NOT TRAIN: {missing} of its {count} parameters are in no group of an optimizer, '
        'and keep their values. This happens if attention is attached after the optimizer was built. Attach '
        "it before (in a config, model=dict(type='mmattn.WithAttention', ...) does), or add it: "
        'optimizer.add_param_group(dict(params=list(model.attention.parameters())))',
        logger='current',
        level=logging.WARNING,
    )


def warn_if_nothing_trains(model: nn.Module) -> None:
    """Warn if all of a model is frozen; PyTorch's error, at the loss that needs no gradient, does not."""
    if any(p.requires_grad for p in model.parameters()):
        return
    frozen = 'freeze_detector=True froze the detector, and the attention is frozen too'
    everything = 'all parameters of the model are frozen, attention included'
    print_log(
        f'NOTHING TRAINS: {everything if model.attention.frozen_detector_params is None else frozen}. '
        'To train attention, call model.attention.requires_grad_(True)',
        logger='current',
        level=logging.WARNING,
    )
