"""Read the config file of a search, and check it before the first trial."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmattn.study.asked import check_choice, check_keys
from mmattn.study.controls import CONTROLS
from mmattn.study.search.space import check_space
from mmattn.study.search.storage import PRUNERS, SAMPLERS
from mmattn.wanted import is_whole

KEYS = ('base', 'settings', 'budget', 'search', 'confirm')
SEARCH_KEYS = ('variant', 'trials', 'metric', 'sampler', 'pruner', 'seed', 'sampler_seed')
CONFIRM_KEYS = ('seeds', 'controls')


@dataclass(frozen=True)
class SearchSettings:
    """What the config file of a search asks for, checked.

    Attributes:
        name: Name of the file.
        base: Config of the detector.
        settings: Changes of the config that all trials have.
        budget: How long each trial trains at most; None for the config's own length.
        variant: Changes of the config, with choices and ranges in them.
        trials: Number of trials.
        metric: What is to be as high as possible, as MMEngine names it: ``'coco/bbox_mAP'``.
        sampler: How a trial chooses: ``'tpe'`` (Bayesian), ``'random'`` or ``'grid'``.
        pruner: Which trials are stopped early: ``'median'``, ``'hyperband'`` or ``'none'``.
        seed: Seed of all trainings, so that trials differ by their choices alone.
        sampler_seed: Seed of the choices.
        confirm_seeds: Seeds of the study that confirms the winner: others than the search's.
        confirm_controls: Controls of that study.
    """

    name: str
    base: str
    settings: Mapping[str, Any]
    budget: Mapping[str, int] | None
    variant: Mapping[str, Any]
    trials: int
    metric: str
    sampler: str
    pruner: str
    seed: int
    sampler_seed: int
    confirm_seeds: Sequence[int]
    confirm_controls: Sequence[str]

    @property
    def common(self) -> dict[str, Any]:
        """The settings that the trials of one search have in common."""
        common = ('base', 'settings', 'budget', 'variant', 'metric', 'seed')
        return {name: getattr(self, name) for name in common}


def read_search(path: str, asked: Mapping[str, Any]) -> SearchSettings:
    """Check the config file of a search.

    Args:
        path: Where the file is, for messages.
        asked: What is in it.

    Raises:
        ValueError, KeyError: If something is missing, misspelt or not possible.
    """
    check_keys(asked, KEYS, ('base', 'search'), path, others=True)
    search, confirm = asked['search'], asked.get('confirm') or {}
    check_keys(search, SEARCH_KEYS, ('variant', 'trials'), f'{path}: search')
    check_keys(confirm, CONFIRM_KEYS, (), f'{path}: confirm')
    sampler = check_choice('search.sampler', search.get('sampler', SAMPLERS[0]), SAMPLERS)
    check_space(search['variant'], sampler == 'grid')
    seed = _integer('search.seed', search.get('seed', 0), 0)
    seeds = tuple(confirm.get('seeds', range(seed + 1, seed + 6)))
    if seed in seeds or not seeds:
        raise ValueError(
            f'confirm.seeds is {list(seeds)}; the winner is confirmed with other seeds than that of the '
            f'search, {seed}, since the best of many is partly lucky'
        )
    controls = confirm.get('controls', CONTROLS[:1])
    for control in controls:
        check_choice('confirm.controls', control, CONTROLS)
    return SearchSettings(
        name=os.path.splitext(os.path.basename(path))[0],
        base=asked['base'],
        settings=asked.get('settings') or {},
        budget=asked.get('budget'),
        variant=search['variant'],
        trials=_integer('search.trials', search['trials'], 1),
        metric=search.get('metric', 'coco/bbox_mAP'),
        sampler=sampler,
        pruner=check_choice('search.pruner', search.get('pruner', PRUNERS[0]), PRUNERS),
        seed=seed,
        sampler_seed=_integer('search.sampler_seed', search.get('sampler_seed', 0), 0),
        confirm_seeds=seeds,
        confirm_controls=tuple(controls),
    )


def _integer(name: str, value: Any, least: int) -> int:
    if not is_whole(value, least):
        raise ValueError(f'{name} is {value!r}; it is a whole number from {least} on')
    return value
