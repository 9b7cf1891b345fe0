"""Draw the losses and the AP of a training from MMEngine's log."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mmattn.files import write_file

Curves = Mapping[str, Sequence[tuple[int, float]]]
"""What a log says: for each name, its values as ``(step, value)``."""


def read_scalars(path: str | Path) -> dict[str, list[tuple[int, float]]]:
    """Read the curves in MMEngine's ``vis_data/scalars.json``.

    Args:
        path: File with one JSON object per line.

    Returns:
        For each name, a list of ``(step, value)``. Lines without ``step`` are skipped.

    Raises:
        ValueError: If a line is not JSON.
    """
    curves: dict[str, list[tuple[int, float]]] = {}
    for number, line in enumerate(Path(path).read_text().splitlines(), start=1):
        try:
            record = json.loads(line)
        except ValueError as error:
            raise ValueError(
                f"line {number} of '{path}' is not JSON: {error}; a log of MMEngine has one object per line"
            ) from None
        step = record.pop('step', None)
        if step is None:
            continue
        for name, value in record.items():
            if isinstance(value, (int, float)):
                curves.setdefault(name, []).append((step, value))
    return curves


def plot_losses(axes: Axes, curves: Curves) -> None:
    """Plot the losses.

    Raises:
        ValueError: If there is none.
    """
    losses = {name: curve for name, curve in curves.items() if 'loss' in name}
    if not losses:
        raise ValueError(f'the log has no loss; it has: {", ".join(sorted(curves)) or "nothing"}')
    for name, curve in losses.items():
        axes.plot(*zip(*curve), label=name, linewidth=2.2 if name == 'loss' else 1.2)
    axes.set(xlabel='iteration', ylabel='loss', ylim=(0, None), title='Training losses')
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3)
    axes.set_xlim(left=0)


def plot_precisions(axes: Axes, curves: Curves) -> None:
    """Plot every AP."""
    precisions = {
        name.split('/')[-1].replace('bbox_mAP', 'AP').replace('_', ''): curve
        for name, curve in curves.items()
        if 'mAP' in name
    }
    for name, curve in precisions.items():
        axes.plot(*zip(*curve), label=name, marker='o', markersize=4, linewidth=2.2 if name == 'AP' else 1.2)
    axes.set(xlabel='iteration', ylabel='AP', ylim=(0, 1), title='Validation')
    if precisions:
        axes.legend(fontsize=8, loc='upper left')
    axes.grid(alpha=0.3)
    axes.set_xlim(left=0)


def learning_curve(curves: Curves) -> Figure:
    """Plot the losses on the left and every AP on the right."""
    # no pyplot: it would start a window system where there is one
    figure = Figure(figsize=(11, 4.2), layout='constrained')
    left, right = figure.subplots(1, 2)
    plot_losses(left, curves)
    plot_precisions(right, curves)
    return figure


def write_learning_curve(curves: Curves, path: str | Path, title: str) -> None:
    """Write :func:`learning_curve` as a PNG file.

    Args:
        curves: What :func:`read_scalars` returned.
        path: File to write.
        title: Title of the figure.
    """
    figure = learning_curve(curves)
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    write_file(path, partial(figure.savefig, format='png', dpi=110))
