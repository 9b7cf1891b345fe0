"""Compare what the detectors of several configs cost: what ``tools/cost.py`` calls."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from rich.table import Table
from torch import nn

from mmattn.cost.report import CostReport, cost_report, measure_time
from mmattn.cost.report_tables import render_reports, render_sites
from mmattn.engine.config_model import build_model
from mmattn.engine.init_weights import init_weights_quietly
from mmattn.engine.mistakes import user_input
from mmattn.insertion import detach

WITHOUT_ATTENTION = 'without attention'


@dataclass(frozen=True)
class TimingOptions:
    """How to measure time; see :func:`~mmattn.cost.report.measure_time`."""

    batch: int = 1
    dtype: str = 'fp32'
    repeats: int = 10
    warmup: int = 3
    device: str = 'cpu'

    def __str__(self) -> str:
        return (
            f'{self.device}, {self.dtype}, batch {self.batch}, {torch.get_num_threads()} threads of '
            f'{os.cpu_count()} cores, torch {torch.__version__}, {self.repeats} runs each after '
            f'{self.warmup}, interleaved'
        )


def compare_configs(
    configs: Sequence[str],
    size: tuple[int, int],
    plain_baseline: bool = False,
    cfg_options: Mapping[str, Any] | None = None,
    timing: TimingOptions | None = None,
    data_root: str | None = None,
) -> dict[str, CostReport]:
    """Count, and if asked for measure, what the detectors of some configs cost.

    Args:
        configs: Config files, or ``mmdet::FOLDER/FILE.py``.
        size: Height and width of the image.
        plain_baseline: Put the first detector without its inserted attention before the others.
        cfg_options: Changes to all configs.
        timing: Measure time with these options; by default nothing is measured.
        data_root: Folder of the data set, from which some configs read their classes.

    Returns:
        The reports by config; ratios are to the first one.

    Raises:
        ValueError: If ``plain_baseline`` is True and the first detector has no inserted attention.
    """
    models = {config: build_model(config, cfg_options, data_root) for config in configs}
    if timing:
        for config, model in models.items():
            with user_input(f'no model was built from {config}'):
                init_weights_quietly(model)
    if plain_baseline:
        models = {WITHOUT_ATTENTION: _without_attention(models[configs[0]], configs[0]), **models}
    reports = {name: cost_report(model, size) for name, model in models.items()}
    if timing:
        with user_input(errors=(ValueError,)):
            measure_time(models, reports, size, **vars(timing))
    return reports


def _without_attention(model: nn.Module, config: str) -> nn.Module:
    with user_input():
        try:
            return detach(deepcopy(model))
        except ValueError as error:
            raise ValueError(
                f'--baseline plain takes inserted attention out of {config}, and {error}; give the config '
                'without attention as the first one instead'
            ) from error


def comparison_tables(
    reports: Mapping[str, CostReport], sites: bool = False, timing: TimingOptions | None = None
) -> Iterator[Table | str]:
    """Yield the table of the reports, tables of their sites, and a line that says how time was measured."""
    yield render_reports(reports)
    if sites:
        yield from (render_sites(report, name) for name, report in reports.items() if report.sites)
    if timing:
        yield str(timing)
