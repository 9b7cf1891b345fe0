"""Find the model of a runner and its blocks that have gates."""

from __future__ import annotations

from collections.abc import Sequence

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import nn

from mmattn.visualization import GateSource, sources_at, why_no_gates


def model_of(runner: Runner) -> nn.Module:
    """Return the runner's model without a wrapper such as ``MMDistributedDataParallel``."""
    return runner.model.module if is_model_wrapper(runner.model) else runner.model


def require_sources(hook: Hook, runner: Runner, globs: Sequence[str] = ()) -> list[GateSource]:
    """Return the model's blocks that have gates; only those that match ``globs``, if any are given.

    Raises:
        ValueError: If the model has no such block.
    """
    model = model_of(runner)
    sources = sources_at([model], globs)[0]
    if not sources:
        raise ValueError(
            f'{type(hook).__name__}: no gates in {type(model).__name__}: {why_no_gates(model)}, or leave the '
            'hook out'
        )
    return sources
