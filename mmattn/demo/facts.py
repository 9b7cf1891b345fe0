"""What was trained, where, with what, and how long: the first table of the demo's page."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from datetime import datetime

from mmengine.runner import Runner
from torch import nn

from mmattn.cost import attention_of
from mmattn.engine.machine import describe_machine

_STARTED = '%Y%m%d_%H%M%S'  # MMEngine's


def facts_of(runner: Runner, config: str, command: str, seconds: Mapping[str, float]) -> dict[str, str]:
    """Return what a finished run was, by what it is.

    Args:
        runner: The run.
        config: Config file, as it was asked for.
        command: The command that started it, if there was one.
        seconds: Duration of each step.
    """
    cfg = runner.cfg
    machine = describe_machine()
    train, val = (len(each.dataset) for each in (runner.train_dataloader, runner.val_dataloader))
    found = dict(
        config=_short(config),
        command=command,
        started=datetime.strptime(runner.timestamp, _STARTED).strftime('%Y-%m-%d %H:%M'),
        took=', '.join(f'{name} {spent:.0f} s' for name, spent in seconds.items()),
        training=f'{cfg.train_cfg.max_iters} iterations of {cfg.train_dataloader.batch_size} images',
        data=f'{train} images to train on, {val} to validate on, in {cfg.val_dataloader.dataset.data_root}',
        detector=_detector(runner.model),
        machine=f'{machine["processor"]}, {machine["cores"]} cores, {_plural(machine["threads"], "thread")}, '
        + (machine['gpu'] or 'no GPU'),
        versions=', '.join(f'{name} {version}' for name, version in machine['versions'].items()),
    )
    return {name: text for name, text in found.items() if text}


def _short(path: str) -> str:
    """Return a path as a reader who stands in the working directory would write it."""
    relative = os.path.relpath(path)
    return path if relative.startswith(os.pardir) else relative


def _detector(model: nn.Module) -> str:
    blocks = [block for _, block in attention_of(model)]
    text = f'{_parameters(model):,} parameters'
    if not blocks:
        return f'{text}, no attention'
    count = Counter(type(block).__name__ for block in blocks)
    listed = ', '.join(f'{name} at {_plural(sites, "site")}' for name, sites in count.items())
    return f'{text}, of them {sum(map(_parameters, blocks)):,} of attention: {listed}'


def _plural(number: int, noun: str) -> str:
    return f'{number} {noun}{"s" * (number != 1)}'


def _parameters(model: nn.Module) -> int:
    return sum(each.numel() for each in model.parameters())
