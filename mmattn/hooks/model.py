"""The model of a run, and the gates that a hook needs in it."""

from __future__ import annotations

from collections.abc import Sequence

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from torch import nn

from mmattn.visualization.gates import Source, sources_at


def model_of(runner) -> nn.Module:
    """The model, without what distributes it."""
    return runner.model.module if is_model_wrapper(runner.model) else runner.model


def require_sources(hook: Hook, runner, globs: Sequence[str] = ()) -> list[Source]:
    """Its blocks that have gates, of them those at ``globs``.

    Raises:
        ValueError: There is none.
    """
    model = model_of(runner)
    sources = sources_at([model], globs)[0]
    if not sources:
        raise ValueError(
            f'{type(hook).__name__}: {type(model).__name__} has no attention with gates; leave '
            'the hook out, or insert a block (what adds to a map, as GlobalContext, or a '
            'module from elsewhere has none)'
        )
    return sources
