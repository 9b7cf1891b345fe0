"""Adapters during training."""

from __future__ import annotations

import os

from mmengine.dist import is_main_process
from mmengine.hooks import EMAHook, Hook
from mmengine.logging import print_log

from mmattn.checkpoints import adapter_of, write_adapter
from mmattn.hooks.model import model_of
from mmattn.registry import HOOKS


@HOOKS.register_module()
class AdapterHook(Hook):
    """Save attention alone while it is trained with ``freeze_detector=True``.

    Writes ``adapter_epoch_1.safetensors`` and so on beside the checkpoints (``adapter_iter_100...`` by
    iterations). With an ``EMAHook``, the averaged weights, as in the checkpoints::

        custom_hooks = [dict(type='mmattn.AdapterHook', interval=1)]

    Args:
        interval: Epochs, or iterations, between two files. With -1 only the last is saved.
        by_epoch: Count epochs, not iterations.
        out_dir: Folder to write to, by default the run's work directory.
        save_last: Save at the end of training, too.

    Raises:
        ValueError: Before training, where the detector would train too.
        RuntimeError: When saving, where it has changed nevertheless.
    """

    priority = 'VERY_LOW'  # as CheckpointHook: behind what changes the weights

    def __init__(
        self, interval: int = 1, by_epoch: bool = True, out_dir: str | None = None, save_last: bool = True
    ):
        if isinstance(interval, bool) or not isinstance(interval, int) or interval == 0 or interval < -1:
            raise ValueError(f'AdapterHook: interval={interval!r}; it is a positive integer, or -1')
        self.interval = interval
        self.by_epoch = by_epoch
        self.out_dir = out_dir
        self.save_last = save_last
        self._base = None

    def before_train(self, runner) -> None:
        model = model_of(runner)
        attention = getattr(model, 'attention', None)
        if not getattr(attention, 'holds_attention', False):
            raise ValueError(
                f'AdapterHook saves attention, and {type(model).__name__} has none: write '
                "model=dict(type='mmattn.WithAttention', ..., freeze_detector=True)"
            )
        training = [
            name
            for name, parameter in model.named_parameters()
            if parameter.requires_grad and not name.startswith('attention.')
        ]
        if attention.held is None or training:
            raise ValueError(
                'AdapterHook saves attention alone, which is of use with the detector that it was trained '
                f'on, and here the detector trains too{f" ({training[0]}, ...)" if training else ""}: set '
                'freeze_detector=True in the config of the model, or leave the hook out'
            )
        if is_main_process():
            self._base = adapter_of(model).base

    def after_train_epoch(self, runner) -> None:
        if self.by_epoch and (
            self.every_n_epochs(runner, self.interval) or self.save_last and self.is_last_train_epoch(runner)
        ):
            self._save(runner, f'adapter_epoch_{runner.epoch + 1}.safetensors')

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        if not self.by_epoch and (
            self.every_n_train_iters(runner, self.interval)
            or self.save_last
            and self.is_last_train_iter(runner)
        ):
            self._save(runner, f'adapter_iter_{runner.iter + 1}.safetensors')

    def _save(self, runner, name: str) -> None:
        if not is_main_process():
            return
        averaged = [hook.ema_model.module for hook in runner.hooks if isinstance(hook, EMAHook)]
        adapter = adapter_of(averaged[-1] if averaged else model_of(runner))
        text = self._base.differences(adapter.base)
        if text:
            raise RuntimeError(
                'AdapterHook: the detector has changed during the training, though its '
                f'parameters are frozen: {text}. Something else writes to it (a loss or a '
                'hook with a state of its own); an adapter of it would be worth nothing'
            )
        folder = runner.work_dir
        if self.out_dir is not None:  # as CheckpointHook does
            folder = os.path.join(self.out_dir, os.path.basename(runner.work_dir.rstrip(os.sep)))
        os.makedirs(folder, exist_ok=True)
        path = os.path.join(folder, name)
        write_adapter(adapter, path, overwrite=True)
        print_log(f'adapter: {path}, {adapter.numel:,} weights', logger='current')
