"""Check the boxes that a runner's training data set has loaded."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmattn.engine.data.loaded import check_loaded
from mmattn.registry import HOOKS


@HOOKS.register_module()
class CheckDataHook(Hook):
    """Refuse to train on boxes that are none, before the first step.

    It looks at what was loaded, from whatever format: boxes that are not finite, that are two corners or
    fractions where x, y, width and height are meant, or no box at all. The tools of this package add it by
    themselves. For other tools, such as MMDetection's, write::

        custom_hooks = [dict(type='mmattn.CheckDataHook')]

    Raises:
        mmattn.engine.DataRefused: When training starts on such data; a ``ValueError``.
    """

    def before_train(self, runner: Runner) -> None:
        check_loaded(runner.train_dataloader.dataset)
