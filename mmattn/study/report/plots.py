"""The plots of a study's report, as SVG: differences, learning curves, gain against cost."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mmattn.study.report.curves import Curve
from mmattn.study.statistics import Comparison

_COLOURS = ('#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#000000', '#999933')
"""Okabe and Ito's, which people with any vision of colour tell apart."""


def colours(variants: Sequence[str]) -> dict[str, str]:
    """Return a colour for each variant."""
    return {name: _COLOURS[i % len(_COLOURS)] for i, name in enumerate(variants)}


def plot_differences(comparisons: Sequence[Comparison]) -> Figure:
    """Plot the difference of each variant from the control with its interval, one metric a panel, in points.

    Args:
        comparisons: Those of the metrics to plot.
    """
    metrics = list(dict.fromkeys(each.metric for each in comparisons))
    variants = list(dict.fromkeys(each.variant for each in comparisons))
    colour = colours(variants)
    figure = Figure(figsize=(3.2 * len(metrics) + 1.2, 0.45 * len(variants) + 1.1), layout='constrained')
    panels = figure.subplots(1, len(metrics), squeeze=False, sharey=True)[0]
    for axes, metric in zip(panels, metrics):
        axes.axvline(0, color='#888', linewidth=1)
        for each in comparisons:
            if each.metric != metric or math.isnan(each.difference):
                continue
            row = variants.index(each.variant)
            if not math.isnan(each.low):
                axes.plot(
                    [100 * each.low, 100 * each.high], [row, row], color=colour[each.variant], linewidth=3
                )
            axes.plot(100 * each.difference, row, 'o', color=colour[each.variant], markeredgecolor='white')
        axes.set_title(metric.partition('/')[2], fontsize='medium')
        axes.set_xlabel('difference in points')
        axes.spines[['top', 'right', 'left']].set_visible(False)
        axes.tick_params(left=False)
    panels[0].set_yticks(range(len(variants)), variants)
    panels[0].set_ylim(len(variants) - 0.5, -0.5)
    return figure


def plot_curves(curves: Mapping[str, Curve], metric: str, step: str) -> Figure:
    """Plot a metric by the length of training, with a band of one standard deviation over seeds.

    Args:
        curves: Curve of each variant.
        metric: Name of the metric.
        step: What steps are: ``'epoch'`` or ``'iteration'``.
    """
    figure = Figure(figsize=(6.4, 3.8), layout='constrained')
    axes = figure.subplots()
    for (variant, curve), colour in zip(curves.items(), colours(list(curves)).values()):
        low, high = (
            [100 * (mean + sign * spread) for mean, spread in zip(curve.mean, curve.spread)]
            for sign in (-1, 1)
        )
        axes.fill_between(curve.steps, low, high, color=colour, alpha=0.15, linewidth=0)
        axes.plot(
            curve.steps, [100 * mean for mean in curve.mean], 'o-', color=colour, label=variant, markersize=4
        )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel(step)
    axes.set_ylabel(f'{metric} in points')
    axes.spines[['top', 'right']].set_visible(False)
    axes.legend(fontsize='small', frameon=False)
    return figure


def plot_gain_and_cost(
    comparisons: Sequence[Comparison], costs: Sequence[Mapping[str, Any]], cost: str, label: str
) -> Figure:
    """Plot the difference of each variant against what it costs in relation to the control.

    Args:
        comparisons: Those of one metric.
        costs: Rows of :func:`~mmattn.study.report.costs.costs_of`.
        cost: Key of the ratio in them.
        label: What that ratio is.
    """
    figure = Figure(figsize=(5.4, 3.6), layout='constrained')
    axes = figure.subplots()
    by_variant = {row['model']: row[cost] for row in costs}
    colour = colours([each.variant for each in comparisons])
    axes.axhline(0, color='#888', linewidth=1)
    for each in comparisons:
        x, y = by_variant[each.variant], 100 * each.difference
        if math.isnan(y):
            continue
        if not math.isnan(each.low):
            axes.plot([x, x], [100 * each.low, 100 * each.high], color=colour[each.variant], linewidth=2)
        axes.plot(x, y, 'o', color=colour[each.variant])
        axes.annotate(each.variant, (x, y), (6, 4), textcoords='offset points', fontsize='small')
    axes.set_xlabel(f'{label} (control: 1)')
    axes.set_ylabel('difference in points')
    axes.plot(1, 0, 's', color='#888')
    axes.annotate('control', (1, 0), (6, 4), textcoords='offset points', fontsize='small', color='#666')
    axes.ticklabel_format(useOffset=False)
    axes.margins(x=0.25)
    axes.spines[['top', 'right']].set_visible(False)
    return figure


def to_svg(figure: Figure) -> str:
    """Return a figure as an ``<svg>`` element; the same figure gives the same text."""
    import matplotlib

    text = io.StringIO()
    with matplotlib.rc_context({'svg.hashsalt': 'mmattn', 'svg.fonttype': 'none'}):
        FigureCanvasSVG(figure).print_svg(text, metadata={'Date': None})
    return text.getvalue()[text.getvalue().index('<svg') :]
