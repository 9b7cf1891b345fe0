"""Save attention alone, as an adapter, during training."""

from __future__ import annotations

import os

from mmengine.dist import is_main_process
from mmengine.hooks import EMAHook, Hook
from mmengine.logging import print_log

from mmattn.checkpoints import adapter_of, write_adapter
from mmattn.hooks._checks import require, require_bool
from mmattn.hooks.model import model_of
from mmattn.insertion.attention import Attention
from mmattn.registry import HOOKS
from mmattn.wanted import is_whole


@HOOKS.register_module()
class AdapterHook(Hook):
    """Save attention alone while it is trained with ``freeze_detector=True``.

    Adapters are written beside the checkpoints, as ``adapter_epoch_1.safetensors`` or
    ``adapter_iter_100.safetensors``. With an ``EMAHook`` they hold the averaged weights, as checkpoints do::

        custom_hooks = [dict(type='mmattn.AdapterHook', interval=1)]

    Args:
        interval: Number of epochs or iterations between two adapters; -1 saves only the last one.
        by_epoch: True if ``interval`` counts epochs, False if it counts iterations.
        out_dir: Folder to write to; by default the run's work directory.
        save_last: True if an adapter is also saved at the end of training.

    Raises:
        ValueError: Before training, if the model has no attention or the detector trains too.
        RuntimeError: When an adapter is saved, if the detector has changed although it is frozen.
    """

    priority = 'VERY_LOW'  # as CheckpointHook: after everything that changes the weights

    def __init__(
        self, interval: int = 1, by_epoch: bool = True, out_dir: str | None = None, save_last: bool = True
    ):
        require(
            self, 'interval', interval, is_whole(interval, 1) or interval == -1, 'a positive integer, or -1'
        )
        require_bool(self, 'by_epoch', by_epoch)
        require_bool(self, 'save_last', save_last)
        is_path = out_dir is None or isinstance(out_dir, (str, os.PathLike))
        require(self, 'out_dir', out_dir, is_path, 'a folder, or None for that of the run')
        self.interval = interval
        self.by_epoch = by_epoch
        self.out_dir = out_dir
        self.save_last = save_last
        self._base = None

    def before_train(self, runner) -> None:
        model = model_of(runner)
        attention = getattr(model, 'attention', None)
        if not isinstance(attention, Attention):
            raise ValueError(
                f'AdapterHook saves attention, and {type(model).__name__} has none: write '
                "model=dict(type='mmattn.WithAttention', ..., freeze_detector=True)"
            )
        training = [
            name
            for name, parameter in model.named_parameters()
            if parameter.requires_grad and not name.startswith('attention.')
        ]
        if attention.frozen_detector_params is None or training:
            raise ValueError(
                'AdapterHook saves attention alone, which needs the detector that it was trained with, and '
                f'here the detector trains too{f" ({training[0]}, ...)" if training else ""}: set '
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
        differences = self._base.differences(adapter.base)
        if differences:
            raise RuntimeError(
                'AdapterHook: the detector has changed during training, though its parameters are frozen: '
                f'{differences}. Something else writes to it, such as a loss or a hook that has a state; the '
                'adapter would not fit the original detector'
            )
        folder = runner.work_dir
        if self.out_dir is not None:  # the same folder as CheckpointHook's
            folder = os.path.join(self.out_dir, os.path.basename(runner.work_dir.rstrip(os.sep)))
        os.makedirs(folder, exist_ok=True)
        path = os.path.join(folder, name)
        write_adapter(adapter, path, overwrite=True)
        print_log(f'adapter: {path}, {adapter.numel:,} weights', logger='current')
