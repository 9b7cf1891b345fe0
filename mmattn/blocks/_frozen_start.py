"""Detect a block that is frozen while its weights are still random, and warn of it."""

from __future__ import annotations

import logging

from mmengine.logging import print_log
from torch import Tensor, nn

# The same words for every block, so that MMEngine's filter of repeated warnings prints them once.
FROZEN_AT_START = (
    "attention is frozen before it was trained: a block with start='paper' has frozen parameters only, and "
    'no checkpoint gave it weights, so its gates stay random and the features behind it scaled down. With '
    "MMDetection's plugins=, frozen_stages freezes the blocks of its stages too. Insert them with "
    'mmattn.WithAttention, whose attention trains in frozen stages (unless freeze_with_host=True); or leave '
    'those stages out, as stages=(False, True, True, True) does; or set frozen_stages=0, which freezes the '
    "stem only; or write start='identity', which leaves the features as they are; or load a checkpoint that "
    'was trained with this attention.'
)


def first_values(block: nn.Module) -> list[Tensor]:
    """The first eight values of each parameter, by which :func:`is_frozen_at` recognises the start."""
    return [p.detach().flatten()[:8].clone() for p in block.parameters()]


def is_frozen_at(block: nn.Module, values: list[Tensor]) -> bool:
    """True if all parameters are frozen and still have the given :func:`first_values`.

    Values are compared because loading is not the only way to change them: MMDetection's mean teacher,
    which its constructor freezes, copies its student.
    """
    parameters = [p for p in block.parameters()]
    if not parameters or any(p.requires_grad for p in parameters):
        return False
    # Meta and fake tensors have no values, nor has anything under a FakeTensorMode.
    return all(
        type(p) is Tensor and not p.is_meta and p.flatten()[:8].equal(start.to(p.device, p.dtype))
        for p, start in zip((p.detach() for p in parameters), values)
    )


def warn_frozen_at_start() -> None:
    """Log :data:`FROZEN_AT_START` as a warning."""
    print_log(FROZEN_AT_START, logger='current', level=logging.WARNING)
