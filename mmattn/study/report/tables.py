"""The tables of a study's report that a comparison of results files does not have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmattn.study.commits import commits_of
from mmattn.study.comparison import TextTable
from mmattn.study.report.folder import StudyFolder


def cost_table(costs: Sequence[Mapping[str, Any]], roles: Mapping[str, str]) -> TextTable:
    """Return what the variants and controls cost.

    Args:
        costs: Rows of :func:`~mmattn.study.report.costs.costs_of`.
        roles: By the name of a variant, whether it is one or which control.
    """
    columns = {
        'parameters': ('parameters', '{:,}'),
        'inserted parameters': ('attention_parameters', '{:,}'),
        'billion operations': ('operations', '{:.3f}'),
        'inserted operations': ('attention_operations', '{:.4f}'),
        'kept memory': ('saved_ratio', 'x{:.3f}'),
        'training step': ('step_ratio', 'x{:.3f}'),
        'inference': ('inference_ratio', 'x{:.3f}'),
    }
    there = {title: key for title, key in columns.items() if key[0] in costs[0]}
    rows = [
        (
            row['model'],
            roles[row['model']].replace('_', ' '),
            *(
                text.format(row[key] / 1e9 if key.endswith('operations') else row[key])
                for key, text in there.values()
            ),
        )
        for row in costs
    ]
    size = f'{costs[0]["height"]}x{costs[0]["width"]}'
    timed = 'step_ratio' in costs[0]
    return TextTable(
        'Cost',
        ('variant', 'as', *there),
        tuple(rows),
        f"Operations are those of one image of {size}. Inserted is what the blocks have of them, controls' "
        'too. Ratios are to the first row. '
        + ('Times were measured side by side.' if timed else 'Times were not measured (--time).'),
    )


def runs_table(study: StudyFolder) -> TextTable:
    """Return all runs, with what became of them, so that each number can be traced to its run."""
    rows = []
    for run, record in study.finished.items():
        versions = record['machine']['versions']
        rows.append(
            (
                f'{run.variant}/seed_{run.seed}',
                'finished',
                f'{record["seconds"] / 60:.1f} min',
                str(len(record['sessions'])),
                ', '.join(f'{_percent(value)} {name}' for name, value in _main(record['metrics'])),
                f'torch {versions.get("torch", "?")}, mmattn {versions.get("mmattn", "?")}',
                ', '.join(commits_of(record)),
                record['hashes']['config'][:12],
            )
        )
    for run, state in study.unfinished.items():
        rows.append((f'{run.variant}/seed_{run.seed}', state, *['-'] * 6))
    return TextTable(
        'Runs',
        ('run', 'state', 'time', 'sessions', 'AP', 'versions', 'commit of mmattn', 'config'),
        tuple(rows),
        'Each is a folder of the study with its config, its log and its detections.',
    )


def _main(metrics: Mapping[str, float]) -> list[tuple[str, float]]:
    names = [(name, part) for name in metrics for part in ('bbox', 'segm') if name.endswith(f'{part}_mAP')]
    return [(part, metrics[name]) for name, part in names]


def _percent(value: float) -> str:
    return f'{100 * value:.2f}'
