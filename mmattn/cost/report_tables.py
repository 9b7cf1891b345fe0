"""Write cost reports as tables for the screen, as CSV and as JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping

from rich.table import Table

from mmattn.cost.report import CostReport, cost_by_site, cost_by_stage, ratio_or_none, report_rows


def render_reports(reports: Mapping[str, CostReport]) -> Table:
    """Return a table for the screen, one row per model; ratios are to the first one."""
    base, *_ = rows = report_rows(reports)
    table = Table(
        title=f'{base["height"]}x{base["width"]}; ratios to the first',
        title_justify='left',
        header_style='bold',
    )
    measured = [name for name in ('inference', 'step') if f'{name}_ratio' in base]
    columns = [
        'parameters',
        'trained',
        'attention',
        'G multiply-adds',
        'G operations',
        'of attention',
        'MiB kept',
        *(f'ms {name} (p10-p90)' for name in measured),
        *(['MiB step'] if 'step_peak_bytes' in base else []),
    ]
    table.add_column('', overflow='fold')
    for column in columns:
        table.add_column(column, justify='right')
    for row in rows:
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
        for name in measured:
            median, p10, p90 = (row[f'{name}_{which}_s'] * 1e3 for which in ('median', 'p10', 'p90'))
            cells.append(f'{median:.1f} ({p10:.1f}-{p90:.1f})' + _times(row[f'{name}_ratio'], first))
        if 'step_peak_bytes' in row:
            cells.append(f'{row["step_peak_bytes"] / 2**20:.0f}' + _times(row['step_peak_ratio'], first))
        table.add_row(*cells)
        frozen = reports[row['model']].cost.frozen_stages
        if frozen:
            paths = ', '.join(frozen.paths)
            name = f'  with recompute={not frozen.recompute} (attention trains in frozen {paths})'
            ratio = ratio_or_none(frozen.saved_otherwise, base['saved_bytes'])
            kept = f'{frozen.saved_otherwise / 2**20:.0f}{_times(ratio, False)}'
            table.add_row(name, *[''] * columns.index('MiB kept'), kept)
    return table


def render_sites(report: CostReport, title: str) -> Table:
    """Return a table for the screen, one row per site of one model."""
    table = Table(title=title, title_justify='left', header_style='bold')
    table.add_column('site', overflow='fold')
    for column in ('parameters', 'M operations', 'MiB kept'):
        table.add_column(column, justify='right')
    for site, cost in cost_by_site(report).items():
        table.add_row(site, f'{cost.parameters:,}', f'{cost.ops / 1e6:.2f}', f'{cost.saved / 2**20:.1f}')
    return table


def reports_to_csv(reports: Mapping[str, CostReport]) -> str:
    """Return the reports as CSV, one line per model."""
    rows = report_rows(reports)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator='\n')
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def reports_to_json(reports: Mapping[str, CostReport]) -> str:
    """Return the reports as JSON, with categories of operations, sites, stages, and what is not counted."""
    return json.dumps(
        [
            dict(
                row,
                kinds=report.cost.ops.by_category(),
                sites={name: vars(cost) for name, cost in cost_by_site(report).items()},
                frozen_stages=report.cost.frozen_stages and vars(report.cost.frozen_stages),
                stages={name: vars(cost) for name, cost in cost_by_stage(report).items()},
                not_counted=dict(report.cost.ops.not_counted),
                not_run=report.cost.not_run,
            )
            for row, report in zip(report_rows(reports), reports.values())
        ],
        indent=1,
    )


def _times(ratio: float | None, first: bool) -> str:
    return '' if first or ratio is None else f' x{ratio:.3f}'
