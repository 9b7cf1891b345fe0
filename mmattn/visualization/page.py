"""Write the inspections of several images as one HTML page that needs no other file and no network."""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image

from mmattn.files import write_file
from mmattn.visualization.html_image import image_tag
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

_STYLE = """
body{font-family:sans-serif;margin:1.5em;color:#222;max-width:1700px}
h2{margin:1.5em 0 .2em} h3{margin:.6em 0 .3em;overflow-wrap:anywhere}
.models{display:flex;gap:2em;flex-wrap:wrap} .model{flex:1 1 45em;min-width:20em}
.pair{display:flex;gap:1em;flex-wrap:wrap} .pair figure{flex:1 1 20em} figure{margin:0 0 1em}
img{max-width:100%;height:auto;display:block} figcaption{font-size:small;color:#555;padding:.2em 0}
.bar{height:.8em;background:linear-gradient(to right,COLOURS)}
.ends{display:flex;justify-content:space-between;font-size:small}
.maps{display:flex;flex-wrap:wrap;gap:.5em} .maps figure{width:9.5em} .maps img{width:100%}
.control{position:sticky;top:0;background:#fff;padding:.5em 0;border-bottom:1px solid #ccc}
.control input{width:min(40em,60vw);vertical-align:middle} .site{display:none} .site.shown{display:block}
"""
_SCRIPT = """
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


def write_attention_page(
    inspections: Iterable[dict[str, ImageInspection]], path: str | Path, title: str, text: str = ''
) -> None:
    """Write one page for several images, each with a slider over the sites.

    Args:
        inspections: For each image, what each detector does on it, by the detector's name. An iterator may
            make them one by one: none is kept.
        path: File to write.
        title: Title of the page.
        text: Paragraph below the title.
    """
    stops = ','.join(to_hex(COLOUR_MAP(i / 10)) for i in range(11))
    parts = [
        '<!doctype html><html lang="en"><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f'<title>{html.escape(title)}</title>',
        f'<style>{_STYLE.replace("COLOURS", stops)}</style>',
        f'<h1>{html.escape(title)}</h1>',
        f'<p>{html.escape(text)}</p>',
    ]
    links, sections = [], []
    for i, each in enumerate(inspections):
        links.append(f'<a href="#image{i}">{html.escape(_image_name(each))}</a>')
        sections += _section(i, each)
    if len(links) > 1:
        parts.append('<p>' + ' · '.join(links) + '</p>')
    parts += sections
    write_file(path, '\n'.join([*parts, f'<script>{_SCRIPT}</script></html>', '']))


def _image_name(inspections: dict[str, ImageInspection]) -> str:
    return next(iter(inspections.values())).name


def _section(number: int, inspections: dict[str, ImageInspection]) -> list[str]:
    names = list(dict.fromkeys(site.name for each in inspections.values() for site in each.sites))
    parts = [f'<section id="image{number}"><h2>{html.escape(_image_name(inspections))}</h2>']
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
            parts.append(f'<h3>{html.escape(model)}</h3>')
        parts += _detector(inspection, names)
        parts.append('</div>')
    return [*parts, '</div></section>']


def _detector(inspection: ImageInspection, names: list[str]) -> list[str]:
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
        f'<div class="site" data-number="{i}">{_overlay(inspection, by_name.get(name))}</div>'
        for i, name in enumerate(names)
    ]
    parts.append('</div></div>')
    parts += [
        f'<div class="site" data-number="{i}">{_channel_maps(by_name[name], inspection.image)}</div>'
        for i, name in enumerate(names)
        if name in by_name
    ]
    return [*parts, *_plots(inspection), *_cams(inspection)]


def _overlay(inspection: ImageInspection, site: SiteInspection | None) -> str:
    if site is None:
        return '<p>This detector has no such site.</p>'
    about = f'<h3>{html.escape(site.name)}: {html.escape(site.block)}, {site.map_shape[0]} channels</h3>'
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


def _channel_maps(site: SiteInspection, image: np.ndarray) -> str:
    parts = []
    for state, chosen in (('most open', site.opened), ('most closed', site.closed)):
        if chosen:
            maps = ''.join(
                _figure(_grey(values, image), f'channel {channel}: {gate:.3f}', f'channel {channel}')
                for channel, gate, values in chosen
            )
            parts.append(f'<h3>{state} channels</h3><div class="maps">{maps}</div>')
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
):
    figure = Figure(figsize=(9, height), layout='constrained')
    canvas = FigureCanvasAgg(figure)
    draw(figure.subplots(), inspection)
    canvas.draw()
    return _figure(np.asarray(canvas.buffer_rgba())[..., :3], '', alt, format='PNG')


def _cams(inspection: ImageInspection) -> list[str]:
    if not inspection.cams:
        return []
    return [
        f'<h3>Grad-CAM at {html.escape(inspection.cam_layer)}</h3><div class="pair">',
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


def _figure(pixels: np.ndarray, caption: str, alt: str, below: str = '', format: str = 'JPEG') -> str:
    tag = image_tag(Image.fromarray(pixels), alt, format)
    return f'<figure>{tag}{below}<figcaption>{html.escape(caption)}</figcaption></figure>'
