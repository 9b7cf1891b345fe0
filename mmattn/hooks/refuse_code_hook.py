"""Refuse checkpoints that would run code, in a run of any tool."""

from __future__ import annotations

from contextlib import ExitStack

from mmengine.hooks import Hook

from mmattn.checkpoints import refuse_code
from mmattn.registry import HOOKS


@HOOKS.register_module()
class RefuseCodeHook(Hook):
    """Refuse checkpoints that would run code, as ``load_from``, ``resume`` or pretrained weights.

    The tools of this package do so by themselves. For other tools, such as MMDetection's, write::

        custom_hooks = [dict(type='mmattn.RefuseCodeHook')]

    Raises:
        UntrustedCheckpoint: When a checkpoint that would run code is to be loaded.
    """

    priority = 'VERY_HIGH'

    def __init__(self):
        self._refusing = ExitStack()

    def before_run(self, runner) -> None:
        self._refusing.enter_context(refuse_code())

    def after_run(self, runner) -> None:
        self._refusing.close()
