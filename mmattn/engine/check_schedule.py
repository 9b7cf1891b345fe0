"""Warn of learning rates that were to fall after the end of the training."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from mmengine.config import Config
from mmengine.logging import print_log

_SHORTEST = 3
"""Fewer epochs are a first try."""


def warn_of_late_milestones(cfg: Config) -> None:
    """Warn if a schedule lowers the learning rate at milestones all of which come after the training's end.

    ``--cfg-options train_cfg.max_epochs=6`` shortens the training, not its schedule.
    """
    loop = cfg.get('train_cfg') or {}
    schedules = cfg.get('param_scheduler') or []
    for i, each in enumerate([schedules] if isinstance(schedules, Mapping) else schedules):
        by_epoch = each.get('by_epoch', True) if isinstance(each, Mapping) else True
        end = loop.get('max_epochs' if by_epoch else 'max_iters')
        milestones = each.get('milestones') if isinstance(each, Mapping) else None
        if not end or end < _SHORTEST or not milestones or min(milestones) < end:
            continue
        key = 'param_scheduler' if isinstance(schedules, Mapping) else f'param_scheduler.{i}'
        unit = 'epoch' if by_epoch else 'iteration'
        print_log(
            f'{key} lowers the learning rate after {unit} {", ".join(map(str, milestones))}, but training '
            f'ends after {end}: it will not fall. --cfg-options {key}.milestones="[{round(end * 2 / 3)}]" '
            'lowers it earlier',
            logger='current',
            level=logging.WARNING,
        )
