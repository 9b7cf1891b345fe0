"""The cost of several configs as a table: what ``tools/cost.py`` prints."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from matplotlib.figure import Figure
from rich.table import Table
from torch import nn

from mmattn.cost.model_cost import ModelCost, model_cost
from mmattn.cost.timing import Timing, inference, peak_memory, time_in_turn, training_step
from mmattn.insertion.stages import stage_of

MULTIPLY_ADDS = ('convolution', 'linear')
"""What most papers call FLOPs: multiply-adds of convolutions and of products of matrices alone."""


@dataclass
class Report:
    """What one model costs.

    Attributes:
        cost: Counted, see :class:`~mmattn.cost.model_cost.ModelCost`.
        sites: For each attention block by its path, the name of its site (the path itself for a block
            that a model has of its own).
        inference: Measured, where asked for.
        step: Of training, likewise.
        step_memory: Most bytes that a training step takes beyond what was taken before it.
    """

    cost: ModelCost
    sites: dict[str, str]
    inference: Timing | None = None
    step: Timing | None = None
    step_memory: int | None = None


@dataclass
class Blocks:
    """Attention of one stage or site: its parameters, operations and bytes kept for the backward pass."""

    number: int = 0
    parameters: int = 0
    ops: int = 0
    saved: int = 0
    rest_ops: int = field(default=0)
    """Operations of what is no attention there."""


def cost_report(model: nn.Module, size: tuple[int, int]) -> Report:
    """Count ``model``; see :func:`~mmattn.cost.model_cost.model_cost`."""
    cost = model_cost(model, size)
    names = {path: path for path in cost.attention}
    if hasattr(model, 'attention'):
        for site in getattr(model.attention, 'claims', ()):
            names[f'attention.{site.key}'] = site.name
    return Report(cost, {path: names[path] for path in cost.attention})


def measure(
    models: Mapping[str, nn.Module],
    reports: Mapping[str, Report],
    size: tuple[int, int],
    batch: int = 1,
    dtype: str = 'fp32',
    repeats: int = 10,
    warmup: int = 3,
    device: str = 'cpu',
) -> None:
    """Time inference and training steps of all ``models`` in turn, and note it in ``reports``."""
    for name in models:
        models[name].to(device)
    options = dict(repeats=repeats, warmup=warmup, pictures=batch, device=device)
    predictions = time_in_turn(
        {name: inference(model, size, batch, dtype) for name, model in models.items()}, **options
    )
    steps = {name: training_step(model, size, batch, dtype) for name, model in models.items()}
    timed = time_in_turn(steps, **options)
    for name, report in reports.items():
        report.inference, report.step = predictions[name], timed[name]
        report.step_memory = peak_memory(steps[name], device)


def by_site(report: Report) -> dict[str, Blocks]:
    """The attention of each site."""
    return _gathered(report, lambda name: name, lambda path: None)


def by_stage(report: Report) -> dict[str, Blocks]:
    """Attention and all else in each stage of the backbone, and in the neck and the heads as wholes."""
    return _gathered(report, stage_of, stage_of)


def _gathered(report: Report, name_of_site, name_of_module) -> dict[str, Blocks]:
    cost = report.cost
    found: dict[str, Blocks] = defaultdict(Blocks)

    def attention(path):
        return next((own for own in report.sites if f'{path}.'.startswith(f'{own}.')), None)

    for path, counter in cost.ops.by_module.items():
        if attention(path) is None and name_of_module(path):
            found[name_of_module(path)].rest_ops += sum(counter.values())
    for path, site in report.sites.items():
        blocks = found[name_of_site(site)]
        blocks.number += 1
        blocks.parameters += cost.attention[path]
        blocks.ops += cost.ops.total(below=path)
        blocks.saved += sum(saved for each, saved in cost.saved.items() if attention(each) == path)
    return dict(found)


def rows(reports: Mapping[str, Report]) -> list[dict]:
    """A flat dict of plain numbers for each model; ratios are to the first one."""
    base = next(iter(reports.values()))
    found = []
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
            saved_ratio=_ratio(cost.saved_bytes(), base.cost.saved_bytes()),
        )
        for kind in ('inference', 'step'):
            timing = getattr(report, kind)
            if timing is not None:
                row |= {
                    f'{kind}_median_s': timing.median,
                    f'{kind}_p10_s': timing.p10,
                    f'{kind}_p90_s': timing.p90,
                    f'{kind}_ratio': timing.ratio(getattr(base, kind)),
                    f'{kind}_pictures_per_s': timing.pictures_per_second,
                }
        if report.step_memory is not None:
            row |= dict(
                step_peak_bytes=report.step_memory,
                step_peak_ratio=_ratio(report.step_memory, base.step_memory),
            )
        found.append(row)
    return found


def as_csv(reports: Mapping[str, Report]) -> str:
    table = rows(reports)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(table[0]), lineterminator='\n')
    writer.writeheader()
    writer.writerows(table)
    return text.getvalue()


def render(reports: Mapping[str, Report]) -> Table:
    """A table for the screen."""
    base, *_ = table = rows(reports)
    shown = Table(
        title=f'{base["height"]}x{base["width"]}; ratios to the first',
        title_justify='left',
        header_style='bold',
    )
    shown.add_column('', overflow='fold')
    columns = [
        'parameters',
        'trained',
        'attention',
        'G multiply-adds',
        'G operations',
        'of attention',
        'MiB kept',
    ]
    timed = [kind for kind in ('inference', 'step') if f'{kind}_ratio' in base]
    columns += [f'ms {kind} (p10-p90)' for kind in timed] + ['MiB step'] * ('step_peak_bytes' in base)
    for column in columns:
        shown.add_column(column, justify='right')
    for row in table:
        first = row is base
        cells = [
            row['model'],
            f'{row["parameters"] / 1e6:.2f} M',
            f'{row["trained"] / 1e6:.2f} M',
            f'{row["attention_parameters"]:,}',
            f'{row["multiply_adds"] / 1e9:.2f}',
            f'{row["operations"] / 1e9:.2f}',
            f'{row["attention_operations"] / 1e9:.3f}',
            f'{row["saved_bytes"] / 2**20:.0f}' + _times(row['saved_ratio'], first),
        ]
        for kind in timed:
            cells.append(
                f'{row[f"{kind}_median_s"] * 1e3:.1f} ({row[f"{kind}_p10_s"] * 1e3:.1f}-'
                f'{row[f"{kind}_p90_s"] * 1e3:.1f})' + _times(row[f'{kind}_ratio'], first)
            )
        if 'step_peak_bytes' in row:
            cells.append(f'{row["step_peak_bytes"] / 2**20:.0f}' + _times(row['step_peak_ratio'], first))
        shown.add_row(*cells)
    return shown


def render_sites(report: Report, title: str) -> Table:
    """The attention of one model, site by site."""
    shown = Table(title=title, title_justify='left', header_style='bold')
    shown.add_column('site', overflow='fold')
    for column in ('parameters', 'M operations', 'MiB kept'):
        shown.add_column(column, justify='right')
    for site, blocks in by_site(report).items():
        shown.add_row(
            site, f'{blocks.parameters:,}', f'{blocks.ops / 1e6:.2f}', f'{blocks.saved / 2**20:.1f}'
        )
    return shown


def remarks(reports: Mapping[str, Report]) -> list[str]:
    """What the table leaves out."""
    found = []
    for name, report in reports.items():
        cost = report.cost
        found += [
            f'{name}: {part or "the model"} is not counted: {why}' for part, why in cost.not_run.items()
        ]
        if cost.ops.not_counted:
            found.append(
                f'{name}: nobody knows how to count '
                + ', '.join(f'{op} ({times} times)' for op, times in sorted(cost.ops.not_counted.items()))
            )
    return found


def plot(reports: Mapping[str, Report], kinds: Sequence[str] = ('ops', 'saved', 'parameters')) -> Figure:
    """What attention costs in each stage, a group of bars for each model that has some."""
    labels = dict(ops='million operations', saved='MiB kept for the backward pass', parameters='parameters')
    units = dict(ops=1e6, saved=2**20, parameters=1)
    found = {name: by_stage(report) for name, report in reports.items() if report.sites}
    if not found:
        raise ValueError('no model has attention: there is nothing to plot')
    stages = list(
        dict.fromkeys(stage for each in found.values() for stage, blocks in each.items() if blocks.number)
    )
    figure = Figure(figsize=(4.5 * len(kinds), 3.6), layout='constrained')
    width = 0.8 / len(found)
    for axes, kind in zip(figure.subplots(1, len(kinds), squeeze=False)[0], kinds):
        for i, (name, blocks) in enumerate(found.items()):
            heights = [getattr(blocks.get(stage, Blocks()), kind) / units[kind] for stage in stages]
            axes.bar([x - 0.4 + width * (i + 0.5) for x in range(len(stages))], heights, width, label=name)
        axes.set_xticks(range(len(stages)), stages, rotation=30, ha='right')
        axes.set_title(f'attention: {labels[kind]}', fontsize='medium')
        axes.spines[['top', 'right']].set_visible(False)
    figure.legend(*axes.get_legend_handles_labels(), loc='outside lower center', fontsize='small')
    return figure


def _ratio(one: int, other: int) -> float | None:
    return one / other if other else None  # what could not be run keeps nothing


def _times(ratio: float | None, first: bool) -> str:
    return '' if first or ratio is None else f' x{ratio:.3f}'
