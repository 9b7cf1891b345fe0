"""Set how long the runs of a study train."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.config import Config

from mmattn.wanted import is_whole

BUDGETS = ('max_epochs', 'max_iters')


def set_budget(cfg: Config, budget: Mapping[str, int] | None, own_schedule: bool) -> None:
    """Set the length of training in a config.

    Args:
        cfg: Config of a run.
        budget: ``dict(max_epochs=12)`` or ``dict(max_iters=1000)``; None for the config's own.
        own_schedule: Whether the study gives ``param_scheduler``, which then is made for the budget.

    Raises:
        ValueError: If the loop counts otherwise, or the learning rate's schedule is made for another length.
    """
    if budget is None:
        return
    if not isinstance(budget, Mapping) or len(budget) != 1 or next(iter(budget)) not in BUDGETS:
        raise ValueError(f'budget is dict(max_epochs=12) or dict(max_iters=1000); got {budget!r}')
    ((key, value),) = budget.items()
    if not is_whole(value, 1):
        raise ValueError(f'budget: {key} is a whole number from 1; got {value!r}')
    old = cfg.train_cfg.get(key)
    if old is None:
        raise ValueError(
            f'budget={dict(budget)!r}, and the loop of the config, {cfg.train_cfg.get("type")}, has no {key}'
        )
    if old != value and not own_schedule:
        for scheduler in _schedulers(cfg.get('param_scheduler')):
            by_epoch = scheduler.get('by_epoch', True)
            made_for = [scheduler.get('end'), scheduler.get('T_max'), *(scheduler.get('milestones') or ())]
            if by_epoch == (key == 'max_epochs') and any(
                isinstance(at, int) and at >= min(old, value) for at in made_for
            ):
                raise ValueError(
                    f'budget={dict(budget)!r}, and the schedule of the learning rate is made for '
                    f"{key}={old}: {scheduler['type']} has {made_for}. Give the study's settings a "
                    'param_scheduler for the new length'
                )
    cfg.train_cfg[key] = value


def _schedulers(given: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(given, Mapping) and 'type' in given:
        yield given
    elif isinstance(given, Mapping):
        for each in given.values():
            yield from _schedulers(each)
    else:
        for each in given or ():
            yield from _schedulers(each)
