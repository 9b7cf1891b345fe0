"""What attention does on images as sections of an HTML page, each with a slider over the sites."""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Iterable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image

from mmattn.visualization.html_image import image_tag
from mmattn.visualization.inspection import ImageInspection, SiteInspection
from mmattn.visualization.overlays import (
    COLOUR_MAP,
    NEARLY_EVEN,
    cam_caption,
    colour_range,
    draw_cam,
    draw_detections,
    draw_overlay,
    overlay_caption,
)
from mmattn.visualization.plots import plot_channels, plot_contrast, plot_histogram

NOTE = (
    'The colours of an overlay span the least to the greatest gate of its site on this image, but at least '
    f'{NEARLY_EVEN:.0%} of the range that its gates can take: read the numbers beside them.'
)
"""What a reader of the sections has to know."""
STYLE = """
section h2,section h3{margin:1.5em 0 .2em;overflow-wrap:anywhere}
.models{display:flex;gap:2em;flex-wrap:wrap} .model{flex:1 1 45em;min-width:min(20em,100%)}
.pair{display:flex;gap:1em;flex-wrap:wrap} .pair>*{flex:1 1 18em;min-width:0}
.site h3,.site h4,.model>h3,.model>h4{margin:.4em 0;font-size:1em}
.bar{height:.8em;background:linear-gradient(to right,COLOURS)}
.ends{display:flex;justify-content:space-between;font-size:small}
.maps{display:flex;flex-wrap:wrap;gap:.5em} .maps figure{width:9.5em} .maps img{width:100%}
.chart{overflow-x:auto} .chart img{min-width:34em}
.control{position:sticky;top:0;background:Canvas;padding:.5em 0;border-bottom:1px solid var(--line);z-index:1}
.control input{width:min(40em,60vw);vertical-align:middle} .control output{overflow-wrap:anywhere}
.site{display:none} .site.shown{display:block}
""".replace('COLOURS', ','.join(to_hex(COLOUR_MAP(i / 10)) for i in range(11)))
"""What the page needs to lay the sections out."""
SCRIPT = """
for (const section of document.querySelectorAll('section')) {
  const slider = section.querySelector('input'), label = section.querySelector('output');
  if (!slider) continue;
  const names = JSON.parse(slider.dataset.names);
  const show = () => {
    label.textContent = names[slider.value] + ' (' + (+slider.value + 1) + ' of ' + names.length + ')';
    for (const each of section.querySelectorAll('.site'))
      each.classList.toggle('shown', each.dataset.number === slider.value);
  };
  slider.addEventListener('input', show);
  show();
}
"""
"""What moves the images when a slider moves."""


def attention_html(inspections: Iterable[dict[str, ImageInspection]], level: int = 2) -> list[str]:
    """Return links to the images, and a section for each, with a slider over the sites.

    Args:
        inspections: For each image, what each detector does on it, by the detector's name. An iterator may
            make them one by one: none is kept.
        level: Level of the sections' headings.
    """
    links, sections = [], []
    for i, each in enumerate(inspections):
        links.append(f'<a href="#image{i}">{html.escape(_image_name(each))}</a>')
        sections += _section(i, each, level)
    return ['<p>' + ' · '.join(links) + '</p>', *sections] if len(links) > 1 else sections


def _image_name(inspections: dict[str, ImageInspection]) -> str:
    return next(iter(inspections.values())).name


def _section(number: int, inspections: dict[str, ImageInspection], level: int) -> list[str]:
    names = list(dict.fromkeys(site.name for each in inspections.values() for site in each.sites))
    parts = [f'<section id="image{number}"><h{level}>{html.escape(_image_name(inspections))}</h{level}>']
    if names:
        listed = html.escape(json.dumps(names), quote=True)
        parts.append(
            f'<div class="control"><label>site <input type="range" min="0" max="{len(names) - 1}" '
            f'value="0" step="1" data-names="{listed}"></label> <output></output></div>'
        )
    parts.append('<div class="models">')
    for model, inspection in inspections.items():
        parts.append('<div class="model">')
        if len(inspections) > 1:
            parts.append(f'<h{level + 1}>{html.escape(model)}</h{level + 1}>')
        parts += _detector(inspection, names, f'h{level + 1}')
        parts.append('</div>')
    return [*parts, '</div></section>']


def _detector(inspection: ImageInspection, names: list[str], heading: str) -> list[str]:
    """Return what one detector does on one image; the slider shows one of the sites ``names``."""
    by_name = {site.name: site for site in inspection.sites}
    parts = [
        '<div class="pair">'
        + _figure(
            draw_detections(inspection),
            f'{len(inspection.detections)} detections',
            f'{inspection.name} with detections',
        )
        + '<div>'
    ]
    parts += [
        f'<div class="site" data-number="{i}">{_overlay(inspection, by_name.get(name), heading)}</div>'
        for i, name in enumerate(names)
    ]
    parts.append('</div></div>')
    parts += [
        f'<div class="site" data-number="{i}">{_channel_maps(by_name[name], inspection.image, heading)}</div>'
        for i, name in enumerate(names)
        if name in by_name
    ]
    return [*parts, *_plots(inspection), *_cams(inspection, heading)]


def _overlay(inspection: ImageInspection, site: SiteInspection | None, heading: str) -> str:
    if site is None:
        return '<p>This detector has no such site.</p>'
    about = f'{html.escape(site.name)}: {html.escape(site.block)}, {site.map_shape[0]} channels'
    about = f'<{heading}>{about}</{heading}>'
    if site.overlay is None:
        return f'{about}<p>{_why_no_overlay(site)}</p>'
    low, high = colour_range(site.overlay, site.spatial_range)
    bar = (
        '<div class="bar"></div><div class="ends">'
        f'<span>{low:.3f}</span><span>gate</span><span>{high:.3f}</span></div>'
    )
    return about + _figure(
        draw_overlay(inspection, site),
        f'spatial gate: {overlay_caption(site)}',
        f'gates of {site.name} over the image',
        below=bar,
    )


def _why_no_overlay(site: SiteInspection) -> str:
    if site.spatial is not None or site.map_shape[1:] == (0, 0):
        return 'Its map shows regions, not the whole image.'
    return 'It has channel gates only and treats all positions alike.'


def _channel_maps(site: SiteInspection, image: np.ndarray, heading: str) -> str:
    parts = []
    for state, chosen in (('most open', site.opened), ('most closed', site.closed)):
        if chosen:
            maps = ''.join(
                _figure(_grey(values, image), f'channel {channel}: {gate:.3f}', f'channel {channel}')
                for channel, gate, values in chosen
            )
            parts.append(f'<{heading}>{state} channels</{heading}><div class="maps">{maps}</div>')
    return ''.join(parts)


def _plots(inspection: ImageInspection) -> list[str]:
    parts = []
    if any(site.channels for site in inspection.sites):
        rows = sum(len(site.channels) for site in inspection.sites)
        parts.append(_plot(plot_channels, inspection, 1.2 + 0.2 * rows, 'channel gates of every site'))
        parts.append(_plot(plot_histogram, inspection, 3, 'histogram of channel gates'))
    if inspection.contrast.size:
        height = 1.2 + 0.24 * len(inspection.contrast)
        parts.append(_plot(plot_contrast, inspection, height, 'gates inside detections minus outside'))
    return parts


def _plot(
    draw: Callable[[Axes, ImageInspection], None], inspection: ImageInspection, height: float, alt: str
) -> str:
    figure = Figure(figsize=(9, height), layout='constrained')
    canvas = FigureCanvasAgg(figure)
    draw(figure.subplots(), inspection)
    canvas.draw()
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])
    return (
        f'<figure class="chart" tabindex="0" role="region" aria-label="{alt}">'
        f'{image_tag(image, alt, "PNG")}</figure>'
    )


def _cams(inspection: ImageInspection, heading: str) -> list[str]:
    if not inspection.cams:
        return []
    return [
        f'<{heading}>Grad-CAM at {html.escape(inspection.cam_layer)}</{heading}><div class="pair">',
        *(
            _figure(draw_cam(inspection, i), cam_caption(inspection, i), f'Grad-CAM of detection {i}')
            for i in range(len(inspection.cams))
        ),
        '</div>',
    ]


def _grey(values: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Return ``values`` in grey, in the proportions of the image, which a pipeline may have changed."""
    low, high = float(values.min()), float(values.max())
    scaled = (values - low) / (high - low) if high > low else np.zeros_like(values)
    grey = Image.fromarray((scaled * 255).round().astype(np.uint8))
    size = 160, max(round(160 * image.shape[0] / image.shape[1]), 1)
    return np.asarray(grey.resize(size, Image.Resampling.NEAREST))


def _figure(pixels: np.ndarray, caption: str, alt: str, below: str = '') -> str:
    tag = image_tag(Image.fromarray(pixels), alt, 'JPEG')
    return f'<figure>{tag}{below}<figcaption>{html.escape(caption)}</figcaption></figure>'
