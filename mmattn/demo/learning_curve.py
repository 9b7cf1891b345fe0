"""Draw the losses and the AP of a training from MMEngine's log."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mmattn.files import write_file


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


def draw_learning_curve(scalars: str | Path, path: str | Path, title: str | None = None) -> None:
    """Draw the losses on the left and every AP on the right.

    Args:
        scalars: MMEngine's ``vis_data/scalars.json``.
        path: PNG file to write.
        title: Title of the figure.

    Raises:
        ValueError: If the log has no loss.
    """
    curves = read_scalars(scalars)
    losses = {name: curve for name, curve in curves.items() if 'loss' in name}
    precisions = {
        name.split('/')[-1].replace('bbox_mAP', 'AP').replace('_', ''): curve
        for name, curve in curves.items()
        if 'mAP' in name
    }
    if not losses:
        raise ValueError(f"'{scalars}' has no loss; it has: {', '.join(sorted(curves)) or 'nothing'}")
    # no pyplot: it would start a window system where there is one
    figure = Figure(figsize=(11, 4.2), layout='constrained')
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    for name, curve in losses.items():
        left.plot(*zip(*curve), label=name, linewidth=2.2 if name == 'loss' else 1.2)
    left.set(xlabel='iteration', ylabel='loss', ylim=(0, None), title='Training losses')
    left.legend(fontsize=8)
    for name, curve in precisions.items():
        right.plot(*zip(*curve), label=name, marker='o', markersize=4, linewidth=2.2 if name == 'AP' else 1.2)
    right.set(xlabel='iteration', ylabel='AP', ylim=(0, 1), title='Validation')
    if precisions:
        right.legend(fontsize=8, loc='lower right')
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.set_xlim(left=0)
    if title:
        figure.suptitle(title)
    write_file(path, partial(figure.savefig, format='png', dpi=110))
