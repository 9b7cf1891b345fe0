"""Report what several models cost: counted, measured, by site and by stage."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import nn

from mmattn.cost.count_model import ModelCost, model_cost
from mmattn.cost.timing import Timing, inference, peak_memory, time_interleaved, training_step
from mmattn.insertion.site import stage_of

MULTIPLY_ADDS = ('convolution', 'linear')
"""Kinds of operations that most papers call FLOPs: convolutions and matrix products."""


@dataclass
class CostReport:
    """What one model costs.

    Attributes:
        cost: Counted cost; see :class:`~mmattn.cost.count_model.ModelCost`.
        sites: Site name of each attention block, by the block's path; the path itself for a block that was
            not inserted at a site.
        inference: Measured time of inference, if it was measured.
        step: Measured time of a training step, if it was measured.
        step_memory: Peak memory of a training step in bytes, beyond what was allocated before it.
    """

    cost: ModelCost
    sites: dict[str, str]
    inference: Timing | None = None
    step: Timing | None = None
    step_memory: int | None = None


@dataclass
class AttentionCost:
    """Cost of the attention at one site or in one stage.

    Attributes:
        number: Number of blocks.
        parameters: Parameters of the blocks.
        ops: Operations of the blocks.
        saved: Bytes that the blocks keep for the backward pass.
        rest_ops: Operations of the other modules there.
    """

    number: int = 0
    parameters: int = 0
    ops: int = 0
    saved: int = 0
    rest_ops: int = 0


def cost_report(model: nn.Module, size: tuple[int, int]) -> CostReport:
    """Count ``model`` on an image of height and width ``size``."""
    cost = model_cost(model, size)
    names = {path: path for path in cost.attention}
    if hasattr(model, 'attention'):
        for site in getattr(model.attention, 'claims', ()):
            names[f'attention.{site.key}'] = site.name
    return CostReport(cost, {path: names[path] for path in cost.attention})


def measure_time(
    models: Mapping[str, nn.Module],
    reports: Mapping[str, CostReport],
    size: tuple[int, int],
    batch: int = 1,
    dtype: str = 'fp32',
    repeats: int = 10,
    warmup: int = 3,
    device: str = 'cpu',
) -> None:
    """Time inference and training steps of all models, interleaved, and store the results in ``reports``.

    Args:
        models: Models by name. They are moved to ``device``.
        reports: Report of each model, by the same names.
        size: Height and width of the images.
        batch: Number of images per run.
        dtype: One of :data:`~mmattn.cost.timing.DTYPES`.
        repeats: Number of timed runs of each.
        warmup: Number of runs of each before the timed ones.
        device: Device to measure on.
    """
    for name in models:
        models[name].to(device)
    options = dict(repeats=repeats, warmup=warmup, images=batch, device=device)
    predictions = time_interleaved(
        {name: inference(model, size, batch, dtype) for name, model in models.items()}, **options
    )
    steps = {name: training_step(model, size, batch, dtype) for name, model in models.items()}
    timed = time_interleaved(steps, **options)
    for name, report in reports.items():
        report.inference, report.step = predictions[name], timed[name]
        report.step_memory = peak_memory(steps[name], device)


def cost_by_site(report: CostReport) -> dict[str, AttentionCost]:
    """Return the cost of the attention at each site."""
    return _sums(report, site_group=lambda name: name, module_group=lambda path: None)


def cost_by_stage(report: CostReport) -> dict[str, AttentionCost]:
    """Return the cost of attention and of all else in each backbone stage, in the neck and in each head."""
    return _sums(report, site_group=stage_of, module_group=stage_of)


def _sums(
    report: CostReport, site_group: Callable[[str], str], module_group: Callable[[str], str | None]
) -> dict[str, AttentionCost]:
    cost = report.cost
    sums: dict[str, AttentionCost] = defaultdict(AttentionCost)

    def block_around(path: str) -> str | None:
        return next((block for block in report.sites if f'{path}.'.startswith(f'{block}.')), None)

    for path, counter in cost.ops.by_module.items():
        if block_around(path) is None and module_group(path):
            sums[module_group(path)].rest_ops += sum(counter.values())
    for path, site in report.sites.items():
        group = sums[site_group(site)]
        group.number += 1
        group.parameters += cost.attention[path]
        group.ops += cost.ops.total(below=path)
        group.saved += sum(saved for each, saved in cost.saved.items() if block_around(each) == path)
    return dict(sums)


def report_rows(reports: Mapping[str, CostReport]) -> list[dict]:
    """Return a flat dict of plain numbers for each model; ratios are to the first one."""
    base = next(iter(reports.values()))
    rows = []
    for name, report in reports.items():
        cost = report.cost
        row = dict(
            model=name,
            height=cost.size[0],
            width=cost.size[1],
            parameters=cost.parameters,
            trained=cost.trainable,
            attention_parameters=cost.attention_parameters,
            multiply_adds=cost.ops.total(MULTIPLY_ADDS),
            operations=cost.ops.total(),
            attention_operations=cost.attention_ops(),
            saved_bytes=cost.saved_bytes(),
            saved_ratio=ratio_or_none(cost.saved_bytes(), base.cost.saved_bytes()),
        )
        for measured in ('inference', 'step'):
            timing = getattr(report, measured)
            if timing is not None:
                row |= {
                    f'{measured}_median_s': timing.median,
                    f'{measured}_p10_s': timing.p10,
                    f'{measured}_p90_s': timing.p90,
                    f'{measured}_ratio': timing.ratio(getattr(base, measured)),
                    f'{measured}_pictures_per_s': timing.images_per_second,
                }
        if report.step_memory is not None:
            row |= dict(
                step_peak_bytes=report.step_memory,
                step_peak_ratio=ratio_or_none(report.step_memory, base.step_memory),
            )
        rows.append(row)
    return rows


def ratio_or_none(one: int, other: int) -> float | None:
    """Return ``one / other``; ``None`` if ``other`` is 0."""
    return one / other if other else None  # a model that could not be run keeps nothing


def not_counted(reports: Mapping[str, CostReport]) -> list[str]:
    """Return a sentence for everything that the counts leave out."""
    found = []
    for name, report in reports.items():
        cost = report.cost
        found += [
            f'{name}: {part or "the model"} is not counted: {reason}' for part, reason in cost.not_run.items()
        ]
        if cost.ops.not_counted:
            operations = sorted(cost.ops.not_counted.items())
            found.append(
                f'{name}: not counted, because they have no cost formula: '
                + ', '.join(f'{operation} ({times} times)' for operation, times in operations)
            )
    return found
