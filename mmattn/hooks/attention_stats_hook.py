"""Log statistics of gates during training, and warn of gates that are stuck."""

from __future__ import annotations

import logging
import math
from collections import Counter
from contextlib import ExitStack

import torch
from mmengine.hooks import Hook
from mmengine.logging import print_log
from torch import Tensor

from mmattn.hooks._checks import is_between, require
from mmattn.hooks.model import model_of, require_sources
from mmattn.registry import HOOKS
from mmattn.visualization import gate_stats, record_gates
from mmattn.visualization.gate_statistics import NAMES
from mmattn.wanted import is_whole


@HOOKS.register_module()
class AttentionStatsHook(Hook):
    """Log statistics of every gate to all visualization backends, and warn once of a gate that has died.

    For each site it logs ``attention/SITE/GATE_...`` with the ``mean``, ``std``, ``saturation``,
    ``stuck_low``, ``stuck_high`` and ``entropy`` of the gates in this iteration, as
    :func:`~mmattn.visualization.gate_statistics.gate_stats` defines them. ``GATE`` is a name in the block's
    :meth:`~mmattn.blocks.base.AttentionBlock.gates`, or ``branch1``, ... for a choice between branches. Gates
    computed several times in an iteration are averaged. It also logs ``attention/SITE/weight_norm`` and
    ``grad_norm`` of the block's parameters; gradients are taken as the optimizer gets them: averaged over
    processes, unscaled and, if so configured, clipped::

        custom_hooks = [dict(type='mmattn.AttentionStatsHook')]
        vis_backends = [dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')]

    With several processes, statistics are of the images of the first process. With accumulated gradients,
    ``grad_norm`` is logged only in iterations in which the optimizer steps.

    Args:
        interval: Number of iterations between two measurements. In between, no hooks are registered and
            nothing is computed.
        warn_share: Warn of a gate if at least this share of its channels is stuck at the same end of its
            range.
        patience: Number of successive measurements in which it must be stuck.
    """

    priority = 'NORMAL'

    def __init__(self, interval: int = 50, warn_share: float = 0.9, patience: int = 2):
        for name, value in dict(interval=interval, patience=patience).items():
            require(self, name, value, is_whole(value, 1), 'a positive integer')
        require(self, 'warn_share', warn_share, is_between(warn_share, 0, 1) and warn_share > 0, 'in (0, 1]')
        self.interval = interval
        self.warn_share = warn_share
        self.patience = patience
        self._sources = None
        self._measuring: ExitStack | None = None
        self._found = None
        self._gradients: dict[str, Tensor] = {}
        self._stuck: Counter = Counter()

    def before_train(self, runner) -> None:
        self._sources = require_sources(self, runner)

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        self._stop()  # still measuring if an exception ended the last iteration and was caught
        if not self.every_n_train_iters(runner, self.interval):
            return
        self._gradients.clear()
        self._measuring = ExitStack()
        self._found = self._measuring.enter_context(
            record_gates(model_of(runner), self._reduce, self._sources)
        )
        for optimizer in _optimizers(runner.optim_wrapper):
            handle = optimizer.register_step_pre_hook(self._note_gradients)
            self._measuring.callback(handle.remove)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        if self._measuring is None:
            return
        found = self._found
        self._stop()
        if not found:
            print_log(
                'AttentionStatsHook: no attention with gates ran in this iteration, so nothing was measured',
                logger='current',
                level=logging.WARNING,
            )
        scalars = self._scalars(found)
        runner.visualizer.add_scalars(scalars, step=runner.iter + 1)
        self._warn(scalars, runner.iter + 1)

    def after_train(self, runner) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._measuring is not None:
            self._measuring.close()
            self._measuring = self._found = None

    @staticmethod
    def _reduce(source, x, gates) -> dict[str, Tensor]:
        block = source.block
        if 'branch' in gates:  # each by itself: if one is always chosen, the others are stuck
            gates = {f'branch{i + 1}': gate for i, gate in enumerate(gates['branch'].unbind(1))}
        return {name: gate_stats(gate, block.floor, block.ceiling) for name, gate in gates.items()}

    def _note_gradients(self, optimizer, args, kwargs) -> None:
        # a fused optimizer unscales gradients itself, after this hook, and skips a step that is not finite
        scale, not_finite = (getattr(optimizer, name, None) for name in ('grad_scale', 'found_inf'))
        if not_finite is not None and not_finite.item():
            return
        for source in self._sources:
            gradients = [p.grad for p in source.block.parameters() if p.grad is not None]
            if gradients:
                norm = _norm(gradients)
                self._gradients[source.name] = norm if scale is None else norm / scale

    def _scalars(self, found) -> dict[str, float]:
        calls: dict[str, list[Tensor]] = {}
        for each in found:
            for gate, numbers in each.value.items():
                calls.setdefault(f'attention/{each.source.name}/{gate}', []).append(numbers)
        values = {
            f'{prefix}_{name}': number
            for prefix, several in calls.items()
            for name, number in zip(NAMES, torch.stack(several).mean(0).unbind())
        }
        for source in self._sources:
            prefix = f'attention/{source.name}'
            if source.name in self._gradients:
                values[f'{prefix}/grad_norm'] = self._gradients[source.name]
            weights = [p.detach() for p in source.block.parameters()]
            if weights:
                values[f'{prefix}/weight_norm'] = _norm(weights)
        if not values:
            return {}
        # one transfer, because each waits for the device
        numbers = torch.stack([value.float() for value in values.values()]).tolist()
        return {key: number for key, number in zip(values, numbers) if not math.isnan(number)}

    def _warn(self, scalars: dict[str, float], step: int) -> None:
        blocks = {source.name: source.block for source in self._sources}
        for key, share in scalars.items():
            gate, _, end = key.rpartition('_stuck_')
            if not gate:
                continue
            before = self._stuck[key]
            self._stuck[key] = (
                before + 1 if share >= self.warn_share else min(before, 0)
            )  # negative after the warning
            if self._stuck[key] != self.patience:
                continue
            self._stuck[key] = -(10**9)  # warn only once
            site, _, name = gate.removeprefix('attention/').rpartition('/')
            state, value = (
                ('has died', blocks[site].floor) if end == 'low' else ('is saturated', blocks[site].ceiling)
            )
            print_log(
                f"the {name} gate at '{site}' {state}: {share:.0%} of its channels are at {value:g}, an end "
                f'of its range, for every input ({self.patience} measurements in a row, the last at '
                f'iteration {step}). There it gets hardly any gradient and may not recover. A lower learning '
                "rate for attention (paramwise_cfg=dict(custom_keys={'attention': dict(lr_mult=0.1)})), "
                "gradient clipping or start='identity' may help; or exclude the site with except_.",
                logger='current',
                level=logging.WARNING,
            )


def _norm(tensors: list[Tensor]) -> Tensor:
    return torch.stack([tensor.float().norm() for tensor in tensors]).norm()


def _optimizers(optim_wrapper):
    """Return the optimizers of a wrapper or of an ``OptimWrapperDict``."""
    wrappers = optim_wrapper.values() if hasattr(optim_wrapper, 'optim_wrappers') else [optim_wrapper]
    return [wrapper.optimizer for wrapper in wrappers if hasattr(wrapper.optimizer, 'register_step_pre_hook')]
