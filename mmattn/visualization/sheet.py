"""Draw a contact sheet: everything inspected on one image, for one detector or several side by side."""

from __future__ import annotations

from collections.abc import Callable

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Normalize
from matplotlib.figure import Figure, SubFigure

from mmattn.insertion.site import stage_of
from mmattn.visualization.inspection import ImageInspection, SiteInspection
from mmattn.visualization.overlays import (
    COLOUR_MAP,
    cam_caption,
    colour_range,
    draw_cam,
    draw_detections,
    draw_overlay,
    overlay_caption,
)
from mmattn.visualization.plots import plot_channels, plot_contrast, plot_histogram

_WIDTH = 15
_COLUMNS = 4


def contact_sheet(inspections: dict[str, ImageInspection], title: str = '') -> Figure:
    """Draw the inspections of one image, one column per detector.

    Args:
        inspections: What each detector does on the image, by the detector's name.
        title: Title of the sheet.
    """
    aspect = max(each.image.shape[0] / each.image.shape[1] for each in inspections.values())
    aspect = min(aspect, 1.2)  # a taller image is drawn narrower instead
    panels = {name: _panels(each, aspect) for name, each in inspections.items()}
    heights = {name: sum(height for height, _ in each) for name, each in panels.items()}
    highest = max(heights.values())
    figure = Figure(figsize=(_WIDTH * len(inspections), highest + 0.5), layout='constrained')
    FigureCanvasAgg(figure)
    columns = figure.subfigures(1, len(inspections), squeeze=False)[0]
    for column, (name, each) in zip(columns, inspections.items()):
        if len(inspections) > 1:
            column.suptitle(name, fontsize='x-large', weight='bold', parse_math=False)
        ratios = [height for height, _ in panels[name]]
        if highest - heights[name] > 1:  # the other detector has more to show
            ratios.append(highest - heights[name])
        rows = column.subfigures(len(ratios), 1, height_ratios=ratios, squeeze=False)[:, 0]
        for row, (_, draw) in zip(rows, panels[name]):
            draw(row, each)
    if title:
        figure.suptitle(title, fontsize='large', parse_math=False)
    return figure


def _panels(
    inspection: ImageInspection, aspect: float
) -> list[tuple[float, Callable[[SubFigure, ImageInspection], None]]]:
    """Return the height in inches and the drawing function of each panel that has something to show.

    No panel is very low: a panel of 0.01 inch has made matplotlib's layout solver abort the process.
    """
    width = _WIDTH / _COLUMNS
    overlaid, last_sites = inspection.overlaid_sites, _last_sites(inspection)
    rows = sum(len(site.channels) for site in inspection.sites)
    panels = [(max(7.5 * aspect, 3.2 + 0.2 * rows), _draw_top)]
    if overlaid:
        panels.append((-(-len(overlaid) // _COLUMNS) * (width * aspect * 0.78 + 0.5), _draw_overlays))
    if last_sites:
        panels.append((len(last_sites) * (_WIDTH / 8 * aspect + 0.5), _draw_channel_maps))
    if inspection.contrast.size:
        panels.append((1.3 + 0.24 * len(overlaid), _draw_contrast))
    if inspection.cams:
        panels.append((-(-len(inspection.cams) // _COLUMNS) * (width * aspect + 0.5), _draw_cams))
    return panels


def _draw_top(panel: SubFigure, inspection: ImageInspection) -> None:
    left, right = panel.subfigures(1, 2)
    axes = left.subplots()
    axes.imshow(draw_detections(inspection))
    axes.set_axis_off()
    axes.set_title(f'{inspection.name}: {len(inspection.detections)} detections', parse_math=False)
    if any(site.channels for site in inspection.sites):
        above, below = right.subplots(2, 1, height_ratios=[2, 1])
        plot_channels(above, inspection)
        plot_histogram(below, inspection)
    else:
        axes = right.subplots()
        axes.set_axis_off()
        gates = 'channel gates' if inspection.sites else 'gates'
        axes.text(0.5, 0.5, f'no {gates} at the chosen sites ran on this image', ha='center', va='center')


def _draw_overlays(panel: SubFigure, inspection: ImageInspection) -> None:
    sites = inspection.overlaid_sites
    grid = panel.subplots(-(-len(sites) // _COLUMNS), _COLUMNS, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, site in zip(grid.flat, sites):
        axes.imshow(draw_overlay(inspection, site))
        axes.set_title(f'{site.name}\n{overlay_caption(site)}', fontsize=8, parse_math=False)
        norm = Normalize(*colour_range(site.overlay, site.spatial_range))
        scale = matplotlib.cm.ScalarMappable(norm, COLOUR_MAP)
        panel.colorbar(scale, ax=axes, shrink=0.9, format='%.3f').ax.tick_params(labelsize=7)


def _draw_channel_maps(panel: SubFigure, inspection: ImageInspection) -> None:
    sites = _last_sites(inspection)
    grid = panel.subplots(len(sites), 8, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    h, w = inspection.image.shape[:2]
    for row, site in zip(grid, sites):
        shown = [*zip(row, site.opened[:4], ['open'] * 4), *zip(row[4:], site.closed[:4], ['closed'] * 4)]
        for axes, (channel, gate, values), state in shown:
            axes.imshow(
                values, 'gray', extent=(0, w, h, 0)
            )  # in proportions that a pipeline may have changed
            name = f'{site.name}\n' if axes is row[0] else ''  # a long name runs on over the next columns
            axes.set_title(f'{name}{state}: channel {channel}, {gate:.3f}', fontsize=7, loc='left')


def _last_sites(inspection: ImageInspection) -> list[SiteInspection]:
    """Return the last site with channel maps in each stage."""
    return list({stage_of(site.name): site for site in inspection.sites if site.opened}.values())


def _draw_contrast(panel: SubFigure, inspection: ImageInspection) -> None:
    plot_contrast(panel.subplots(), inspection)


def _draw_cams(panel: SubFigure, inspection: ImageInspection) -> None:
    panel.suptitle(f'Grad-CAM at {inspection.cam_layer}', fontsize='medium')
    grid = panel.subplots(-(-len(inspection.cams) // _COLUMNS), _COLUMNS, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for i, axes in zip(range(len(inspection.cams)), grid.flat):
        axes.imshow(draw_cam(inspection, i))
        axes.set_title(cam_caption(inspection, i), fontsize=8, parse_math=False)
