"""Check that a checkpoint's attention and the model's are the same when a runner loads it."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner

from mmattn._private_apis import is_resuming
from mmattn.checkpoints import check_insertion, require_same_insertion, require_same_optimizer
from mmattn.checkpoints.check import fill_identity_start
from mmattn.registry import HOOKS


@HOOKS.register_module()
class CheckInsertionHook(Hook):
    """Warn if a checkpoint has attention that the model lacks, and say what to write in the config.

    The tools of this package add it by themselves. For other tools, such as MMDetection's, write::

        custom_hooks = [dict(type='mmattn.CheckInsertionHook')]

    Raises:
        ValueError: When a run is resumed with other attention, another optimizer or other parameters than it
            was started with.
    """

    priority = 'VERY_HIGH'  # before EMAHook loads the checkpoint and MMEngine lists what did not fit

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        if is_resuming(runner):
            require_same_insertion(runner.model, checkpoint)
            if isinstance(runner.optim_wrapper, OptimWrapper):
                optimizer = getattr(runner.optim_wrapper, 'optimizer', None)  # not of several
                if optimizer is not None:
                    require_same_optimizer(runner.model, optimizer, checkpoint)
        check_insertion(runner.model, checkpoint)
        fill_identity_start(runner.model, checkpoint)
