"""Write the report of a study as Markdown, as one HTML page, as CSV and as JSON."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from mmattn.files import write_file
from mmattn.study.commits import commits_of, different_commits
from mmattn.study.comparison import TextTable, answer_tables, to_csv, to_json, to_markdown
from mmattn.study.comparison.tables import images_title, verdict_words, what_is_new
from mmattn.study.record import FAILED
from mmattn.study.report.folder import StudyFolder
from mmattn.study.report.image_rows import ImageRow
from mmattn.study.report.page import report_page
from mmattn.study.report.page_plots import page_plots
from mmattn.study.report.page_rows import rows_html, rows_markdown
from mmattn.study.report.study_report import REPORT, StudyReport
from mmattn.study.report.tables import cost_table, runs_table
from mmattn.study.statistics import Comparison
from mmattn.visualization.side_by_side import side_by_side

IMAGES = 'images'
"""Folder of a report with its drawn images."""
_OURS = re.compile(r'(bbox|segm)_.+_(gained|lost)_\d+\.png')


def write_report(report: StudyReport) -> list[Path]:
    """Write ``report.md``, ``report.html``, ``report.csv`` and ``report.json`` into the study's folder.

    The images to which ``report.md`` refers are written beside it.
    """
    folder = report.folder.path / REPORT
    folder.mkdir(exist_ok=True)
    _write_images(report.images, folder / IMAGES)
    answer = json.loads(to_json(report.answer))
    content = answer | dict(
        study=report.folder.study,
        runs=[each | _trained_by(report.folder, each['variant'], each['seed']) for each in answer['runs']],
        unfinished={
            f'{run.variant}/seed_{run.seed}': state for run, state in report.folder.unfinished.items()
        },
        costs=report.costs,
        drawn_images=[
            dict(
                iou_type=row.iou_type,
                variant=row.variant,
                image=row.name,
                seed=row.difference.seed,
                file=f'{IMAGES}/{row.file}' if row.panels else None,
                shown=[panel.caption for panel in row.panels],
                note=row.note,
            )
            for row in report.images
        ],
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


def _trained_by(folder: StudyFolder, variant: str, seed: int) -> dict[str, Any]:
    """Return what a run's record says of its training."""
    record = next(
        record for run, record in folder.finished.items() if (run.variant, run.seed) == (variant, seed)
    )
    return dict(
        config=record['hashes']['config'],
        machine=record['machine'],
        seconds=record['seconds'],
        commits=commits_of(record),
    )


def _write_images(rows: Sequence[ImageRow], folder: Path) -> None:
    """Write the rows as image files; those of an earlier report are removed."""
    folder.mkdir(exist_ok=True)
    drawn = {row.file: row for row in rows if row.panels}
    for path in folder.glob('*.png'):
        if path.name not in drawn and _OURS.fullmatch(path.name):
            path.unlink()
    for name, row in drawn.items():
        joined = side_by_side([(panel.caption, panel.image) for panel in row.panels])
        write_file(folder / name, partial(joined.save, format='PNG', optimize=True))


def verdicts(report: StudyReport) -> list[str]:
    """Return the answer in AP, a sentence for each variant."""
    percent = f'{100 * report.answer.level:g} %'
    return [
        f'**{each.variant}** against {each.control}, {part} AP: **{verdict_words(each)}**, '
        + _in_numbers(each, percent)
        for part in report.folder.iou_types
        for each in report.answer.comparisons
        if each.metric == f'{part}/AP'
    ]


def _in_numbers(each: Comparison, percent: str) -> str:
    if not each.seeds:
        return 'for they have no seed in common yet'
    seeds = f'{len(each.seeds)} seed{"s" if len(each.seeds) > 1 else ""}'
    if math.isnan(each.low):
        return f'{100 * each.difference:+.2f} points ({seeds})'
    return (
        f'{100 * each.difference:+.2f} points ({percent} interval {100 * each.low:+.2f} to '
        f'{100 * each.high:+.2f}, {seeds})'
    )


def remarks(report: StudyReport) -> list[str]:
    """Return what a reader has to know beside the numbers."""
    missing = _missing_runs(report.folder)
    commits = different_commits(report.folder.finished.values())
    return [*filter(None, (missing, commits)), *report.folder.study['notes']]


def _missing_runs(folder: StudyFolder) -> str:
    """Say how many runs are missing, and which of them failed; empty if none is missing."""
    states = folder.unfinished
    failed = [f'{run}: {state}' for run, state in states.items() if state.startswith(FAILED)]
    others = Counter(state for state in states.values() if not state.startswith(FAILED))
    parts = '; '.join([*(f'{number} {state}' for state, number in others.items()), *failed])
    return (
        f'{len(states)} of {len(states) + len(folder.finished)} runs are missing: {parts}' if states else ''
    )


def markdown(report: StudyReport) -> str:
    """Return the report as Markdown."""
    head, *rest = to_markdown(report.answer).split('\n', 1)
    lines = [f'# {report.folder.study["name"]}', '']
    lines += [f'- {each}' for each in (*verdicts(report), *remarks(report))]
    own = [f'{table.markdown()}\n' for table in (_cost_table(report), runs_table(report.folder))]
    images = [
        rows_markdown(f'{images_title(report.answer, *key)}, drawn', rows, IMAGES)
        for key, rows in _by_variant(report).items()
    ]
    return '\n'.join([*lines, '', f'##{head[1:]}', *rest, *images, *own])


def page(report: StudyReport) -> str:
    """Return the report as an HTML page."""
    answer, study = report.answer, report.folder.study
    seeds = len({run.seed for run in answer.runs})
    lead = [
        f'{len(answer.variants)} variants, {seeds} seeds, {answer.images} images. Metrics and differences '
        f'are in points; intervals of {100 * answer.level:g} % hold for {what_is_new(answer)} of the '
        'same source.',
    ]
    notes = [*remarks(report), *answer.notes]
    rows = {images_title(answer, *key): rows for key, rows in _by_variant(report).items()}
    tables = [*answer_tables(answer), _cost_table(report), runs_table(report.folder)]
    with_rows = [(table, rows_html(rows.get(table.title, ()))) for table in tables]
    return report_page(study['name'], lead, verdicts(report), notes, page_plots(report), with_rows)


def _by_variant(report: StudyReport) -> dict[tuple[str, str], list[ImageRow]]:
    rows: dict[tuple[str, str], list[ImageRow]] = {}
    for row in report.images:
        rows.setdefault((row.iou_type, row.variant), []).append(row)
    return rows


def _cost_table(report: StudyReport) -> TextTable:
    roles = {name: each['role'] for name, each in report.folder.study['variants'].items()}
    return cost_table(report.costs, roles)
