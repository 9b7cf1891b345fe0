"""Plot the numbers of an inspected image: channel gates, their histogram, contrast of detections."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from mmattn.insertion.site import stage_of
from mmattn.visualization.drawing import COLOURS
from mmattn.visualization.inspection import ImageInspection
from mmattn.visualization.overlays import (
    COLOUR_MAP,
    NEARLY_EVEN,
    channel_heat,
    channel_range,
    detection_label,
)

_DETECTIONS = 8


def plot_channels(axes: Axes, inspection: ImageInspection) -> None:
    """Plot channel gates as a heat map: one row per site, from its first channel to its last."""
    rows, heat, (low, high) = channel_heat(inspection)
    drawn = axes.imshow(
        heat,
        COLOUR_MAP,
        aspect='auto',
        interpolation='nearest',
        vmin=low,
        vmax=high,
        extent=(0, 1, len(rows), 0),
    )
    axes.set_yticks(np.arange(len(rows)) + 0.5, rows, fontsize=7)
    axes.set_xticks([0, 1], ['first channel', 'last'])
    axes.set_title('channel gates')
    axes.figure.colorbar(drawn, ax=axes, label='gate')


def plot_histogram(axes: Axes, inspection: ImageInspection) -> None:
    """Plot a histogram of the channel gates of each stage, over the range that gates can take."""
    stages: dict[str, list[np.ndarray]] = {}
    for site in inspection.sites:
        stages.setdefault(stage_of(site.name), []).extend(site.channels.values())
    stages = {stage: np.concatenate(values) for stage, values in stages.items() if values}
    bins = np.linspace(*channel_range(inspection), 61)
    for i, (stage, values) in enumerate(stages.items()):
        axes.hist(
            np.clip(values, bins[0], bins[-1]),
            bins,
            histtype='step',
            linewidth=1.4,
            color=COLOURS[i % len(COLOURS)],
            label=f'{stage} ({len(values)})',
            weights=np.full(len(values), 100 / len(values)),
        )
    axes.set(xlabel='channel gate, over its whole range', ylabel='% of channels', xlim=(bins[0], bins[-1]))
    axes.legend(fontsize=7)


def plot_contrast(axes: Axes, inspection: ImageInspection) -> None:
    """Plot, for each site and detection, the mean gate inside the box minus the mean outside."""
    values = inspection.contrast[:, :_DETECTIONS]
    sites = inspection.overlaid_sites
    widest = max(high - low for low, high in (site.spatial_range for site in sites))
    greatest = float(np.nanmax(np.abs(values))) if np.isfinite(values).any() else 0.0
    bound = max(greatest, NEARLY_EVEN * widest / 2)
    drawn = axes.imshow(values, 'RdBu_r', aspect='auto', vmin=-bound, vmax=bound)
    shown = range(values.shape[1])
    axes.set_xticks(shown, [detection_label(inspection, i) for i in shown], fontsize=8, parse_math=False)
    axes.set_yticks(range(values.shape[0]), [site.name for site in sites], fontsize=7)
    for (row, column), value in np.ndenumerate(values):
        axes.text(
            column,
            row,
            f'{value:+.3f}',
            ha='center',
            va='center',
            fontsize=7,
            color='white' if abs(value) > 0.6 * bound else 'black',
        )
    more = len(inspection.detections) - values.shape[1]
    axes.set_title(
        'spatial gates: mean inside a detection minus mean outside'
        + (f' ({more} more in the arrays)' if more > 0 else '')
    )
    axes.figure.colorbar(drawn, ax=axes)
