"""Plot what attention costs in each stage of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from mmattn.cost.report import AttentionCost, CostReport, cost_by_stage

_LABELS = dict(ops='million operations', saved='MiB kept for the backward pass', parameters='parameters')
_UNITS = dict(ops=1e6, saved=2**20, parameters=1)


def plot_attention_cost(
    reports: Mapping[str, CostReport], fields: Sequence[str] = ('ops', 'saved', 'parameters')
) -> Figure:
    """Plot the cost of attention in each stage, one group of bars per stage and one bar per model.

    Args:
        reports: Reports by the models' names; models without attention are left out.
        fields: Numbers of :class:`~mmattn.cost.report.AttentionCost` to plot, side by side.

    Raises:
        ValueError: If no model has attention.
    """
    costs = {name: cost_by_stage(report) for name, report in reports.items() if report.sites}
    if not costs:
        raise ValueError('no model has attention: there is nothing to plot')
    stages = list(
        dict.fromkeys(stage for each in costs.values() for stage, cost in each.items() if cost.number)
    )
    figure = Figure(figsize=(4.5 * len(fields), 3.6), layout='constrained')
    width = 0.8 / len(costs)
    for axes, field in zip(figure.subplots(1, len(fields), squeeze=False)[0], fields):
        for i, (name, by_stage) in enumerate(costs.items()):
            heights = [
                getattr(by_stage.get(stage, AttentionCost()), field) / _UNITS[field] for stage in stages
            ]
            axes.bar([x - 0.4 + width * (i + 0.5) for x in range(len(stages))], heights, width, label=name)
        axes.set_xticks(range(len(stages)), stages, rotation=30, ha='right')
        axes.set_title(f'attention: {_LABELS[field]}', fontsize='medium')
        axes.spines[['top', 'right']].set_visible(False)
    figure.legend(*axes.get_legend_handles_labels(), loc='outside lower center', fontsize='small')
    return figure
