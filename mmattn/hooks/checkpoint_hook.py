"""Save checkpoints so that a whole one is there at any moment."""

from __future__ import annotations

import os
from collections import deque
from difflib import get_close_matches
from inspect import signature
from typing import Any

from mmengine.dist import is_main_process
from mmengine.fileio import BaseStorageBackend
from mmengine.hooks import CheckpointHook as MMEngineCheckpointHook
from mmengine.runner import Runner

from mmattn._private_apis import is_resuming, overrides
from mmattn.engine.whole_files import use_whole_files
from mmattn.files import remove_parts, write_file
from mmattn.registry import HOOKS


@HOOKS.register_module()
class CheckpointHook(MMEngineCheckpointHook):
    """MMEngine's ``CheckpointHook``, with the same options and files, for runs that may be killed any time.

    MMEngine's own writes in place, removes an old checkpoint before it writes the new one, and empties
    ``last_checkpoint`` before it fills it. Here, in this order: the new checkpoint is written beside its
    place and renamed, ``last_checkpoint`` is replaced, and what ``max_keep_ckpts`` and ``save_best`` no
    longer keep is removed. So the disk needs room for one checkpoint more.

    The tools of this package use it by themselves. For other tools, such as MMDetection's, write::

        default_hooks = dict(checkpoint=dict(type='mmattn.CheckpointHook', interval=1))
    """

    exact: Any = None
    """The run's ``ExactResumeHook``, for which a checkpoint waits until no gradients are accumulated."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        # MMEngine hands on what it does not know, and fails at the first checkpoint.
        known = {*signature(MMEngineCheckpointHook).parameters, *signature(Runner.save_checkpoint).parameters}
        unknown = [name for name in kwargs if name not in known]
        if unknown:
            near = get_close_matches(unknown[0], known, n=1)
            raise TypeError(
                f'CheckpointHook has no option {unknown[0]!r}'
                + (f'; did you mean {near[0]!r}?' if near else f'. Its options: {", ".join(sorted(known))}')
            )
        use_whole_files()
        self._waiting: int | None = None

    def before_train(self, runner: Runner) -> None:
        super().before_train(runner)
        if is_resuming(runner) and 'last_ckpt' in runner.message_hub.runtime_info:
            self.last_ckpt = runner.message_hub.get_info('last_ckpt')  # for save_best, which saves it again
        if is_main_process():
            for folder in {runner.work_dir, str(self.out_dir)}:
                if os.path.isdir(folder):
                    remove_parts(folder)

    def after_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        super().after_train_iter(runner, *args, **kwargs)
        if self._waiting is not None and self.exact.may_save(runner):
            self._save_waiting(runner, runner.iter + 1)

    def after_train(self, runner: Runner) -> None:
        if self._waiting is not None:  # a run that was stopped early
            self.exact = None
            self._save_waiting(runner, runner.iter)
        super().after_train(runner)

    def _save_waiting(self, runner: Runner, iteration: int) -> None:
        self._save_checkpoint_with_step(runner, self._waiting, dict(epoch=runner.epoch, iter=iteration))

    @overrides(MMEngineCheckpointHook)
    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        if self.exact is not None:
            if not self.exact.may_save(runner):
                self._waiting = step
                return
            self.exact.before_saving(runner)
        self._waiting = None
        steps = list(self.keep_ckpt_ids) if self.max_keep_ckpts > 0 else []
        if self.max_keep_ckpts > 0 and step not in steps[-1:]:
            # With those that are removed below: a run that is killed before removes them when it is resumed.
            steps.append(step)
            runner.message_hub.update_info('keep_ckpt_ids', list(steps))
        self.last_ckpt = self._path(step)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        runner.save_checkpoint(
            self.out_dir,
            self.filename_tmpl.format(step),
            self.file_client_args,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            backend_args=self.backend_args,
            **self.args,
        )
        if is_main_process():
            write_file(os.path.join(runner.work_dir, 'last_checkpoint'), self.last_ckpt)
        if self.max_keep_ckpts > 0:
            if is_main_process():
                for old in steps[: -self.max_keep_ckpts]:
                    _remove(self.file_backend, self._path(old))
            self.keep_ckpt_ids = deque(steps, self.max_keep_ckpts)
            runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))

    @overrides(MMEngineCheckpointHook)
    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        if not self.save_best:
            return
        backend = self.file_backend
        self.file_backend = later = _RemoveLater(backend)
        try:
            super()._save_best_checkpoint(runner, metrics)
        finally:
            self.file_backend = backend
        best = [getattr(self, 'best_ckpt_path', None), *getattr(self, 'best_ckpt_path_dict', {}).values()]
        for path in later.paths:
            if path not in (self.last_ckpt, *best):  # the same epoch, evaluated again
                _remove(backend, path)

    def _path(self, step: int) -> str:
        return self.file_backend.join_path(self.out_dir, self.filename_tmpl.format(step))


class _RemoveLater:
    """A file backend that notes what it is told to remove."""

    def __init__(self, backend: BaseStorageBackend):
        self.paths: list[str] = []
        self._backend = backend

    def remove(self, path: str) -> None:
        self.paths.append(path)

    rmtree = remove

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)


def _remove(backend: BaseStorageBackend, path: str) -> None:
    if backend.isfile(path):
        backend.remove(path)
    elif backend.isdir(path):  # of DeepSpeed
        backend.rmtree(path)
