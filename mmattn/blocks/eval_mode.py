"""Run a module in eval mode, and leave each of its ``training`` flags as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def in_eval_mode(module: nn.Module) -> Iterator[None]:
    """A context in which ``module`` and all modules inside it are in eval mode.

    The flags are set themselves: detectors override ``train()`` and ``eval()``, and ``train(True)`` forgets
    which norms were in eval mode.
    """
    flags = {each: each.training for each in module.modules()}
    for each in flags:
        each.training = False
    try:
        yield
    finally:
        for each, flag in flags.items():
            each.training = flag
