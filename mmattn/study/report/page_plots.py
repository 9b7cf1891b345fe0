"""Choose the plots of a study's page, each with its caption."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from matplotlib.figure import Figure

from mmattn.study.report.plots import (
    colours,
    plot_curves,
    plot_differences,
    plot_gain_and_cost,
    plot_mistakes,
)
from mmattn.study.report.study_report import StudyReport
from mmattn.study.statistics import Comparison
from mmattn.visualization.html_plot import to_svg


def page_plots(report: StudyReport) -> list[tuple[str, str]]:
    """Return the plots of a study as captions with SVG elements."""
    return [
        (caption, to_svg(figure))
        for part in report.folder.iou_types
        for caption, figure in _captioned(report, part)
    ]


def _captioned(report: StudyReport, part: str) -> Iterator[tuple[str, Figure]]:
    answer = report.answer
    colour = colours(answer.variants, answer.control)
    intervals = f'with intervals of {100 * answer.level:g} %'
    names = [f'{part}/{name}' for name in report.folder.study['metrics'] if name in ('AP', 'AP50', 'AP75')]
    main = [each for name in names or [f'{part}/AP'] for each in _of(answer.comparisons, name)]
    yield f'Differences from {answer.control} ({part}), {intervals}', plot_differences(main, colour)
    mistakes = [each for each in answer.mistakes if each.iou_type == part]
    if mistakes:
        yield (
            f'Mistakes ({part}): what each type costs in AP50, less what it costs {answer.control}, '
            f'{intervals}. Left of 0 is better',
            plot_mistakes(mistakes, colour),
        )
    curves = report.curves[part]
    if any(len(curve.steps) > 1 for curve in curves.values()):
        yield (
            f'{part} AP in training: mean, and one standard deviation over seeds',
            plot_curves(curves, 'AP', _step(report), colour),
        )
    keys = {'step_ratio': 'time of a training step', 'saved_ratio': 'memory kept for the backward pass'}
    key = next(key for key in keys if key in report.costs[0])
    ap = _of(answer.comparisons, f'{part}/AP')
    yield (
        f'Difference in {part} AP against cost, {intervals}, a little beside each other to be seen',
        plot_gain_and_cost(ap, report.costs, key, keys[key], colour),
    )


def _step(report: StudyReport) -> str:
    record = next(iter(report.folder.finished.values()))
    return 'epoch' if record['evaluations'][-1]['step'].startswith('epoch') else 'iteration'


def _of(comparisons: Sequence[Comparison], metric: str) -> list[Comparison]:
    return [each for each in comparisons if each.metric == metric]
