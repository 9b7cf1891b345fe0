"""Nobody evaluates a model whose attention is missing without being told."""

from mmengine.hooks import Hook

from mmattn.checkpoints import check_insertion, require_same_insertion
from mmattn.registry import HOOKS


@HOOKS.register_module()
class CheckInsertionHook(Hook):
    """Warn where a checkpoint has attention that the model lacks, and say what to write.

    A run that is resumed needs the attention that it was begun with: another one is an error.

    The tools of this package install it by themselves. In other tools, for instance MMDetection's::

        custom_hooks = [dict(type='mmattn.CheckInsertionHook')]
    """

    priority = 'VERY_HIGH'  # before EMAHook loads it, and MMEngine lists what did not fit

    def after_load_checkpoint(self, runner, checkpoint) -> None:
        if runner._resume:
            require_same_insertion(runner.model, checkpoint)
        check_insertion(runner.model, checkpoint)
