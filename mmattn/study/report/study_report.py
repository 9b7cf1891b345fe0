"""Write the report of a study: what its runs say about its variants, and whence each number comes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mmattn.cost.compare import TimingOptions
from mmattn.files import write_file
from mmattn.study.comparison import Answer, answer_tables, compare_results, to_csv, to_json, to_markdown
from mmattn.study.evaluation import EvaluationSettings
from mmattn.study.report.costs import costs_of
from mmattn.study.report.curves import Curve, curves_of
from mmattn.study.report.folder import StudyFolder, read_study_folder
from mmattn.study.report.page import report_page
from mmattn.study.report.plots import plot_curves, plot_differences, plot_gain_and_cost, to_svg
from mmattn.study.report.tables import cost_table, runs_table
from mmattn.study.statistics import Comparison

REPORT = 'report'
"""Folder of a study with its report."""


@dataclass(frozen=True)
class StudyReport:
    """All that a report shows.

    Attributes:
        folder: The study.
        answer: What its detections say.
        curves: Learning curves of AP, by iou type and variant.
        costs: What the variants cost, the control first.
    """

    folder: StudyFolder
    answer: Answer
    curves: Mapping[str, Mapping[str, Curve]]
    costs: Sequence[Mapping[str, Any]]


def make_report(
    path: str | os.PathLike,
    relevant: float = 0.01,
    level: float = 0.95,
    timing: TimingOptions | None = None,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> StudyReport:
    """Evaluate and compare the finished runs of a study.

    Args:
        path: Folder of the study.
        relevant: The smallest difference that matters, as a fraction.
        level: Level of the intervals.
        timing: How to measure training steps and inference of all variants side by side; None not to.
        workers: Number of processes that evaluate.
        progress: Called with the number of files that are evaluated and of all.

    Raises:
        FileNotFoundError: If it is no folder of a study, or a file of it is gone.
        ValueError: If too few runs are finished.
    """
    folder = read_study_folder(path)
    settings = EvaluationSettings(folder.ann_file, cache=str(folder.path / REPORT / 'evaluations'))
    control = folder.study['control']
    answer = compare_results(
        folder.results(), settings, folder.iou_types, control, level, relevant, workers, progress
    )
    return StudyReport(
        folder,
        answer,
        {part: curves_of(folder.finished, part, 'AP') for part in folder.iou_types},
        costs_of({variant: folder.config(variant) for variant in answer.variants}, control, timing),
    )


def write_report(report: StudyReport) -> list[Path]:
    """Write ``report.md``, ``report.html``, ``report.csv`` and ``report.json`` into the study's folder."""
    folder = report.folder.path / REPORT
    folder.mkdir(exist_ok=True)
    content = json.loads(to_json(report.answer)) | dict(
        study=report.folder.study,
        unfinished={
            f'{run.variant}/seed_{run.seed}': state for run, state in report.folder.unfinished.items()
        },
        costs=report.costs,
        curves={
            part: {variant: asdict(curve) for variant, curve in curves.items()}
            for part, curves in report.curves.items()
        },
    )
    files = {
        'report.md': markdown(report),
        'report.html': page(report),
        'report.csv': to_csv(report.answer),
        'report.json': json.dumps(content, indent=1) + '\n',
    }
    for name, text in files.items():
        write_file(folder / name, text)
    return [folder / name for name in files]


def verdicts(report: StudyReport) -> list[str]:
    """Return the answer in AP, a sentence for each variant."""
    percent = f'{100 * report.answer.level:g} %'
    return [
        f'**{each.variant}** against {each.control}, {part} AP: **{each.words}**, '
        f'{100 * each.difference:+.2f} points ({percent} interval {100 * each.low:+.2f} to '
        f'{100 * each.high:+.2f}, {len(each.seeds)} seeds)'
        for part in report.folder.iou_types
        for each in _of(report.answer.comparisons, f'{part}/AP')
    ]


def remarks(report: StudyReport) -> list[str]:
    """Return what a reader has to know beside the numbers."""
    unfinished = [f'{run}: {state}' for run, state in report.folder.unfinished.items()]
    left = [f'{len(unfinished)} runs are missing: {"; ".join(unfinished)}'] if unfinished else []
    return [*left, *report.folder.study['notes']]


def markdown(report: StudyReport) -> str:
    """Return the report as Markdown."""
    head, *rest = to_markdown(report.answer).split('\n', 1)
    lines = [f'# {report.folder.study["name"]}', '']
    lines += [f'- {each}' for each in (*verdicts(report), *remarks(report))]
    own = [cost_table(report.costs), runs_table(report.folder)]
    return '\n'.join([*lines, '', f'##{head[1:]}', *rest, *(f'{table.markdown()}\n' for table in own)])


def page(report: StudyReport) -> str:
    """Return the report as an HTML page."""
    answer, study = report.answer, report.folder.study
    seeds = len({run.seed for run in answer.runs})
    about = 'new images' if seeds == 1 else 'new seeds and new images'
    lead = [
        f'{len(answer.variants)} variants, {seeds} seeds, {answer.images} images. Metrics and '
        f'differences are in points; intervals of {100 * answer.level:g} % hold for {about} of the same '
        'source.',
        *remarks(report),
        *answer.notes,
    ]
    plots = []
    for part in report.folder.iou_types:
        names = [f'{part}/{name}' for name in study['metrics'] if name in ('AP', 'AP50', 'AP75')]
        main = [each for name in names or [f'{part}/AP'] for each in _of(answer.comparisons, name)]
        plots.append(
            (
                f'Differences from {answer.control} ({part}), with intervals of {100 * answer.level:g} %',
                to_svg(plot_differences(main)),
            )
        )
        curves = report.curves[part]
        if any(len(curve.steps) > 1 for curve in curves.values()):
            plots.append(
                (
                    f'{part} AP in training: mean, and one standard deviation over seeds',
                    to_svg(plot_curves(curves, 'AP', _step(report))),
                )
            )
        ap = _of(answer.comparisons, f'{part}/AP')
        keys = {'step_ratio': 'time of a training step', 'saved_ratio': 'memory kept for the backward pass'}
        key = next(key for key in keys if key in report.costs[0])
        plots.append(
            (
                f'Difference in {part} AP against cost',
                to_svg(plot_gain_and_cost(ap, report.costs, key, keys[key])),
            )
        )
    tables = [*answer_tables(answer), cost_table(report.costs), runs_table(report.folder)]
    return report_page(study['name'], lead, verdicts(report), plots, tables)


def _step(report: StudyReport) -> str:
    record = next(iter(report.folder.finished.values()))
    return 'epoch' if record['evaluations'][-1]['step'].startswith('epoch') else 'iteration'


def _of(comparisons: Sequence[Comparison], metric: str) -> list[Comparison]:
    return [each for each in comparisons if each.metric == metric]
