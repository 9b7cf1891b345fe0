"""Attention on one picture as one figure, or two detectors side by side."""

from __future__ import annotations

from collections.abc import Callable

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

from mmattn.insertion.stages import stage_of
from mmattn.visualization.drawing import COLOURS, FONT_SIZE, draw_boxes
from mmattn.visualization.inspection import Look, SiteLook

COLOUR_MAP = matplotlib.colormaps['viridis']
_SHARE = 0.6
"""Of the colours in an overlay; the rest is the picture, in grey."""
FLAT = 0.02
"""Gates that span less of their range than this are drawn as nearly even."""
_COLUMNS = 4
_DETECTIONS = 8


def with_detections(look: Look) -> np.ndarray:
    """The picture with boxes, classes and scores."""
    picture = Image.fromarray(look.picture)
    boxes = [
        dict(bbox=(x1, y1, x2 - x1, y2 - y1), category_id=int(label), score=float(score))
        for (x1, y1, x2, y2), label, score in zip(
            look.found.bboxes.tolist(), look.found.labels, look.found.scores
        )
    ]
    labels = {box['category_id'] for box in boxes}
    names = {label: look.classes[label] if label < len(look.classes) else str(label) for label in labels}
    colours = {label: COLOURS[label % len(COLOURS)] for label in labels}
    draw_boxes(picture, boxes, names, colours, 1.0, ImageFont.load_default(FONT_SIZE))
    return np.asarray(picture)


def overlaid(look: Look, site: SiteLook) -> np.ndarray:
    """The picture, in grey, under the colours of a site's gates; see :func:`span`."""
    return _blend(look, site.overlay, *span(site.overlay, site.ends))


def with_cam(look: Look, number: int) -> np.ndarray:
    """The picture, in grey, under the colours of a detection's Grad-CAM, from 0 to its maximum."""
    cam = look.cams[number]
    picture = Image.fromarray(_blend(look, cam, 0.0, max(float(cam.max()), 1e-12)))
    ImageDraw.Draw(picture).rectangle(look.found.bboxes[number].tolist(), outline='white', width=2)
    return np.asarray(picture)


def cam_text(look: Look, number: int) -> str:
    """Which detection a Grad-CAM is of."""
    text = f'Grad-CAM of {detection_text(look, number)}, up to {float(look.cams[number].max()):.2g}'
    return text if look.cams[number].max() > 0 else f'{text}: nothing at {look.cam_layer} speaks for it'


def detection_text(look: Look, number: int) -> str:
    """Class and score."""
    label = int(look.found.labels[number])
    name = look.classes[label] if label < len(look.classes) else str(label)
    return f'{name} {look.found.scores[number]:.2f}'


def _blend(look: Look, values: np.ndarray, low: float, high: float) -> np.ndarray:
    grey = np.asarray(Image.fromarray(look.picture).convert('L'))[..., None] / 255
    colours = COLOUR_MAP(Normalize(low, high)(values))[..., :3]
    return ((_SHARE * colours + (1 - _SHARE) * grey) * 255).round().astype(np.uint8)


def span(values: np.ndarray, ends: tuple[float, float]) -> tuple[float, float]:
    """What the colours span: the least value to the greatest, but at least :data:`FLAT` of the range.

    Else the last bits of gates that are all alike would look like attention.
    """
    low, high = float(values.min()), float(values.max())
    missing = max(FLAT * (ends[1] - ends[0]) - (high - low), 0) / 2
    return low - missing, high + missing


def range_text(site: SiteLook) -> str:
    """What the colours of an overlay mean."""
    low, high = float(site.overlay.min()), float(site.overlay.max())
    text = f'{low:.3f} to {high:.3f} of ({site.ends[0]:g}, {site.ends[1]:g})'
    return f'{text}, nearly even' if high - low < FLAT * (site.ends[1] - site.ends[0]) else text


def contact_sheet(looks: dict[str, Look], title: str = '') -> Figure:
    """All that :mod:`mmattn.visualization.inspection` saw, on one sheet; each detector has a column of its own.

    Args:
        looks: By what the detectors are called.
        title: On top of the sheet.
    """
    aspect = max(each.picture.shape[0] / each.picture.shape[1] for each in looks.values())
    aspect = min(aspect, 1.2)  # a tall picture is drawn narrower instead
    parts = {name: _parts(each, aspect) for name, each in looks.items()}
    heights = {name: sum(height for height, _ in each) for name, each in parts.items()}
    highest = max(heights.values())
    figure = Figure(figsize=(15 * len(looks), highest + 0.5), layout='constrained')
    FigureCanvasAgg(figure)
    columns = figure.subfigures(1, len(looks), squeeze=False)[0]
    for column, (name, each) in zip(columns, looks.items()):
        if len(looks) > 1:
            column.suptitle(name, fontsize='x-large', weight='bold', parse_math=False)
        ratios = [height for height, _ in parts[name]]
        if highest - heights[name] > 1:  # the other detector has more to show
            ratios.append(highest - heights[name])
        rows = column.subfigures(len(ratios), 1, height_ratios=ratios, squeeze=False)[:, 0]
        for row, (_, draw) in zip(rows, parts[name]):
            draw(row, each)
    if title:
        figure.suptitle(title, fontsize='large', parse_math=False)
    return figure


def _parts(look: Look, aspect: float) -> list[tuple[float, Callable]]:
    """Inches of each part that has something to show, and what draws it.

    None is very low: on one of 0.01 inch matplotlib's solver of layouts has been seen to abort the process.
    """
    width = 15 / _COLUMNS
    parts = [(max(7.5 * aspect, 3.2 + 0.2 * sum(len(site.channels) for site in look.sites)), _draw_top)]
    if look.overlaid:
        parts.append((-(-len(look.overlaid) // _COLUMNS) * (width * aspect * 0.78 + 0.5), _draw_overlays))
    if _last_of_stages(look):
        parts.append((len(_last_of_stages(look)) * (15 / 8 * aspect + 0.5), _draw_channel_maps))
    if look.contrast.size:
        parts.append((1.3 + 0.24 * len(look.overlaid), _draw_contrast))
    if look.cams:
        parts.append((-(-len(look.cams) // _COLUMNS) * (width * aspect + 0.5), _draw_cams))
    return parts


def _draw_top(part, look: Look) -> None:
    left, right = part.subfigures(1, 2)
    axes = left.subplots()
    axes.imshow(with_detections(look))
    axes.set_axis_off()
    axes.set_title(f'{look.name}: {len(look.found)} detections', parse_math=False)
    if any(site.channels for site in look.sites):
        above, below = right.subplots(2, 1, height_ratios=[2, 1])
        draw_channels(above, look)
        draw_histogram(below, look)
    else:
        axes = right.subplots()
        axes.set_axis_off()
        text = 'no gate of channels' if look.sites else 'no gate'
        axes.text(0.5, 0.5, f'{text} among what was asked for ran on this picture', ha='center', va='center')


def draw_channels(axes, look: Look) -> None:
    """A heat map: a row for each site, from its first channel to its last."""
    rows = {
        (site.name if view == 'channel' else f'{site.name} {view}'): values
        for site in look.sites
        for view, values in site.channels.items()
    }
    width = max(len(values) for values in rows.values())
    image = np.stack([values[np.arange(width) * len(values) // width] for values in rows.values()])
    low, high = span(image, _widest(look))
    drawn = axes.imshow(
        image,
        COLOUR_MAP,
        aspect='auto',
        interpolation='nearest',
        vmin=low,
        vmax=high,
        extent=(0, 1, len(rows), 0),
    )
    axes.set_yticks(
        np.arange(len(rows)) + 0.5, [f'{name} ({len(values)})' for name, values in rows.items()], fontsize=7
    )
    axes.set_xticks([0, 1], ['first channel', 'last'])
    axes.set_title('channel gates')
    axes.figure.colorbar(drawn, ax=axes, label='gate')


def draw_histogram(axes, look: Look) -> None:
    """Channel gates of each stage, over the range that gates have."""
    stages: dict[str, list[np.ndarray]] = {}
    for site in look.sites:
        stages.setdefault(stage_of(site.name), []).extend(site.channels.values())
    stages = {stage: np.concatenate(values) for stage, values in stages.items() if values}
    bins = np.linspace(*_widest(look), 61)
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


def _widest(look: Look) -> tuple[float, float]:
    lows, highs = zip(*(site.channel_ends for site in look.sites if site.channels))
    return min(lows), max(highs)


def _draw_overlays(part, look: Look) -> None:
    sites = look.overlaid
    grid = part.subplots(-(-len(sites) // _COLUMNS), _COLUMNS, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, site in zip(grid.flat, sites):
        axes.imshow(overlaid(look, site))
        axes.set_title(f'{site.name}\n{range_text(site)}', fontsize=8, parse_math=False)
        scale = matplotlib.cm.ScalarMappable(Normalize(*span(site.overlay, site.ends)), COLOUR_MAP)
        part.colorbar(scale, ax=axes, shrink=0.9, format='%.3f').ax.tick_params(labelsize=7)


def _draw_channel_maps(part, look: Look) -> None:
    sites = _last_of_stages(look)
    grid = part.subplots(len(sites), 8, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    h, w = look.picture.shape[:2]
    for row, site in zip(grid, sites):
        shown = [*zip(row, site.opened[:4], ['open'] * 4), *zip(row[4:], site.closed[:4], ['closed'] * 4)]
        for axes, (channel, gate, values), what in shown:
            # In the picture's proportions, which a pipeline may have changed.
            axes.imshow(values, 'gray', extent=(0, w, h, 0))
            name = f'{site.name}\n' if axes is row[0] else ''  # a long one runs on over the others
            axes.set_title(f'{name}{what}: channel {channel}, {gate:.3f}', fontsize=7, loc='left')


def _last_of_stages(look: Look) -> list[SiteLook]:
    return list({stage_of(site.name): site for site in look.sites if site.opened}.values())


def _draw_cams(part, look: Look) -> None:
    part.suptitle(f'Grad-CAM at {look.cam_layer}', fontsize='medium')
    grid = part.subplots(-(-len(look.cams) // _COLUMNS), _COLUMNS, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for i, axes in zip(range(len(look.cams)), grid.flat):
        axes.imshow(with_cam(look, i))
        axes.set_title(cam_text(look, i), fontsize=8, parse_math=False)


def _draw_contrast(part, look: Look) -> None:
    draw_contrast(part.subplots(), look)


def draw_contrast(axes, look: Look) -> None:
    """A heat map: sites by detections, the mean gate within the box less that outside."""
    values = look.contrast[:, :_DETECTIONS]
    widest = max(high - low for low, high in (site.ends for site in look.overlaid))
    bound = max(float(np.nanmax(np.abs(values))) if np.isfinite(values).any() else 0.0, FLAT * widest / 2)
    drawn = axes.imshow(values, 'RdBu_r', aspect='auto', vmin=-bound, vmax=bound)
    shown = range(values.shape[1])
    axes.set_xticks(shown, [detection_text(look, i) for i in shown], fontsize=8, parse_math=False)
    axes.set_yticks(range(values.shape[0]), [site.name for site in look.overlaid], fontsize=7)
    for i, row in enumerate(values):
        for j, value in enumerate(row):
            dark = abs(value) > 0.6 * bound
            axes.text(
                j,
                i,
                f'{value:+.3f}',
                ha='center',
                va='center',
                fontsize=7,
                color='white' if dark else 'black',
            )
    more = len(look.found) - values.shape[1]
    axes.set_title(
        'gates of positions: mean within a detection less mean outside'
        + (f' ({more} more in the arrays)' if more > 0 else '')
    )
    axes.figure.colorbar(drawn, ax=axes)
