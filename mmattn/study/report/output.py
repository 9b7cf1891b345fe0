"""Write the report of a study as Markdown, as one HTML page, as CSV and as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from mmattn.files import write_file
from mmattn.study.commits import different_commits
from mmattn.study.comparison import TextTable, answer_tables, to_csv, to_json, to_markdown
from mmattn.study.report.page import report_page
from mmattn.study.report.page_plots import page_plots
from mmattn.study.report.study_report import REPORT, StudyReport
from mmattn.study.report.tables import cost_table, runs_table


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
        for each in report.answer.comparisons
        if each.metric == f'{part}/AP'
    ]


def remarks(report: StudyReport) -> list[str]:
    """Return what a reader has to know beside the numbers."""
    unfinished = [f'{run}: {state}' for run, state in report.folder.unfinished.items()]
    left = [f'{len(unfinished)} runs are missing: {"; ".join(unfinished)}'] if unfinished else []
    commits = different_commits(report.folder.finished.values())
    return [*left, *([commits] if commits else []), *report.folder.study['notes']]


def markdown(report: StudyReport) -> str:
    """Return the report as Markdown."""
    head, *rest = to_markdown(report.answer).split('\n', 1)
    lines = [f'# {report.folder.study["name"]}', '']
    lines += [f'- {each}' for each in (*verdicts(report), *remarks(report))]
    own = [_cost_table(report), runs_table(report.folder)]
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
    tables = [*answer_tables(answer), _cost_table(report), runs_table(report.folder)]
    return report_page(study['name'], lead, verdicts(report), page_plots(report), tables)


def _cost_table(report: StudyReport) -> TextTable:
    roles = {name: each['role'] for name, each in report.folder.study['variants'].items()}
    return cost_table(report.costs, roles)
