"""The plots of a study's report: differences, mistakes, learning curves, gain against cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import offset_copy

from mmattn.study.comparison import Estimate, MistakeChange
from mmattn.study.evaluation import MISTAKES
from mmattn.study.report.curves import Curve
from mmattn.study.statistics import Comparison

_COLOURS = ('#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#000000', '#999933')
"""Okabe and Ito's, which people with any vision of colour tell apart."""
_GREY = '#777777'
_COLUMNS = 3
_APART = 4.0  # points of the page


def colours(variants: Sequence[str], control: str) -> dict[str, str]:
    """Return a colour for each variant, the same in all plots of a report; the control is grey."""
    others = [name for name in variants if name != control]
    return {control: _GREY} | {name: _COLOURS[i % len(_COLOURS)] for i, name in enumerate(others)}


def plot_differences(comparisons: Sequence[Comparison], colour: Mapping[str, str]) -> Figure:
    """Plot the difference of each variant from the control with its interval, one metric a panel, in points.

    Args:
        comparisons: Those of the metrics to plot.
        colour: Colour of each variant.
    """
    panels: dict[str, dict[str, Comparison | Estimate]] = {}
    for each in comparisons:
        panels.setdefault(each.metric.partition('/')[2], {})[each.variant] = each
    return _intervals(panels, colour, 'difference in points')


def plot_mistakes(changes: Sequence[MistakeChange], colour: Mapping[str, str]) -> Figure:
    """Plot how the cost of each type of mistake differs from the control's, one type a panel, in points.

    Args:
        changes: Those of boxes, or those of masks.
        colour: Colour of each variant.
    """
    panels = {
        mistake: {each.variant: each.cost for each in changes if each.mistake == mistake}
        for mistake in MISTAKES
    }
    return _intervals(panels, colour, 'difference in points of AP50')


def _intervals(
    panels: Mapping[str, Mapping[str, Comparison | Estimate]], colour: Mapping[str, str], label: str
) -> Figure:
    """Plot differences with their intervals: a panel a title, a row a variant, one scale for all."""
    variants = [name for name in colour if any(name in each for each in panels.values())]
    columns = min(len(panels), _COLUMNS)
    rows = -(-len(panels) // columns)
    size = 3.2 * columns + 1.2, rows * (0.3 * len(variants) + 1.0)
    figure = Figure(figsize=size, layout='constrained')
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for number, axes in enumerate(grid.flat):
        axes.set_visible(number < len(panels))
    for axes, (title, estimates) in zip(grid.flat, panels.items()):
        axes.axvline(0, color='#888', linewidth=1)
        axes.set_title(title, fontsize='medium')
        for variant, each in estimates.items():
            _interval(axes, each, variants.index(variant), colour[variant])
        axes.spines[['top', 'right', 'left']].set_visible(False)
        axes.tick_params(left=False)
    for axes in grid[-1]:
        axes.set_xlabel(label)
    grid[0, 0].set_yticks(range(len(variants)), variants)
    grid[0, 0].set_ylim(len(variants) - 0.5, -0.5)
    return figure


def _interval(axes: Axes, each: Comparison | Estimate, row: int, colour: str) -> None:
    if math.isnan(each.difference):
        return
    if not math.isnan(each.low):
        axes.plot([100 * each.low, 100 * each.high], [row, row], color=colour, linewidth=3)
    axes.plot(100 * each.difference, row, 'o', color=colour, markeredgecolor='white')


def plot_curves(curves: Mapping[str, Curve], metric: str, step: str, colour: Mapping[str, str]) -> Figure:
    """Plot a metric by the length of training, with a band of one standard deviation over seeds.

    Args:
        curves: Curve of each variant.
        metric: Name of the metric.
        step: What steps are: ``'epoch'`` or ``'iteration'``.
        colour: Colour of each variant.
    """
    figure = Figure(figsize=(6.4, 3.8), layout='constrained')
    axes = figure.subplots()
    for variant in (name for name in colour if name in curves):
        curve = curves[variant]
        low, high = (
            [100 * (mean + sign * spread) for mean, spread in zip(curve.mean, curve.spread)]
            for sign in (-1, 1)
        )
        axes.fill_between(curve.steps, low, high, color=colour[variant], alpha=0.15, linewidth=0)
        means = [100 * mean for mean in curve.mean]
        axes.plot(curve.steps, means, 'o-', color=colour[variant], label=variant, markersize=4)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel(step)
    axes.set_ylabel(f'{metric} in points')
    axes.spines[['top', 'right']].set_visible(False)
    axes.legend(fontsize='small', frameon=False)
    return figure


def plot_gain_and_cost(
    comparisons: Sequence[Comparison],
    costs: Sequence[Mapping[str, Any]],
    cost: str,
    label: str,
    colour: Mapping[str, str],
) -> Figure:
    """Plot the difference of each variant against what it costs in relation to the control.

    Args:
        comparisons: Those of one metric.
        costs: Rows of :func:`~mmattn.study.report.costs.costs_of`.
        cost: Key of the ratio in them.
        label: What that ratio is.
        colour: Colour of each variant.
    """
    figure = Figure(figsize=(6.4, 3.6), layout='constrained')
    axes = figure.subplots()
    by_variant = {row['model']: row[cost] for row in costs}
    axes.axhline(0, color='#888', linewidth=1)
    shown = [each for each in comparisons if not math.isnan(each.difference)]
    for number, each in enumerate(shown):
        x, y = by_variant[each.variant], 100 * each.difference
        # variants of one cost would cover each other
        beside = offset_copy(axes.transData, figure, _APART * (number - (len(shown) - 1) / 2), 0, 'points')
        options = dict(color=colour[each.variant], transform=beside)
        if not math.isnan(each.low):
            axes.plot([x, x], [100 * each.low, 100 * each.high], linewidth=2, **options)
        axes.plot(x, y, 'o', label=each.variant, **options)
        ends = [end for end in (each.difference, each.low, each.high) if not math.isnan(end)]
        axes.update_datalim([(x, 100 * end) for end in ends])  # what is drawn beside its place is not counted
    axes.autoscale_view()
    axes.set_xlabel(f'{label} (control: 1)')
    axes.set_ylabel('difference in points')
    axes.plot(1, 0, 's', color=_GREY, label='control')
    figure.legend(loc='outside right upper', fontsize='small', frameon=False)
    axes.ticklabel_format(useOffset=False)
    axes.margins(x=0.25)
    axes.spines[['top', 'right']].set_visible(False)
    return figure
