"""Attention on pictures as one HTML file that needs no other and no network."""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image

from mmattn.visualization.inspection import Look, SiteLook
from mmattn.visualization.sheet import (
    COLOUR_MAP,
    cam_text,
    draw_channels,
    draw_contrast,
    draw_histogram,
    overlaid,
    range_text,
    span,
    with_cam,
    with_detections,
)

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
    looks: Iterable[dict[str, Look]], path: str | Path, title: str, text: str = ''
) -> None:
    """Write one page of several pictures, each with a slider over the sites.

    Args:
        looks: For each picture, what the detectors saw, by what they are called. None is kept, so that they
            may be made one after the other.
        path: The file.
        title: Of the page.
        text: Below it.
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
    for i, each in enumerate(looks):
        links.append(f'<a href="#picture{i}">{html.escape(_name(each))}</a>')
        sections += _section(i, each)
    if len(links) > 1:
        parts.append('<p>' + ' · '.join(links) + '</p>')
    parts += sections
    Path(path).write_text('\n'.join([*parts, f'<script>{_SCRIPT}</script></html>', '']), encoding='utf-8')


def _name(looks: dict[str, Look]) -> str:
    return next(iter(looks.values())).name


def _section(number: int, looks: dict[str, Look]) -> list[str]:
    names = list(dict.fromkeys(site.name for look in looks.values() for site in look.sites))
    parts = [f'<section id="picture{number}"><h2>{html.escape(_name(looks))}</h2>']
    if names:
        listed = html.escape(json.dumps(names), quote=True)
        parts.append(
            f'<div class="control"><label>site <input type="range" min="0" max="{len(names) - 1}" '
            f'value="0" step="1" data-names="{listed}"></label> <output></output></div>'
        )
    parts.append('<div class="models">')
    for model, look in looks.items():
        parts.append('<div class="model">')
        if len(looks) > 1:
            parts.append(f'<h3>{html.escape(model)}</h3>')
        seen = with_detections(look)
        by_name = {site.name: site for site in look.sites}
        parts.append(
            '<div class="pair">'
            + _figure(seen, f'{len(look.found)} detections', f'{look.name} with detections')
            + '<div>'
        )
        parts += [
            f'<div class="site" data-number="{i}">{_overlay(look, by_name.get(name))}</div>'
            for i, name in enumerate(names)
        ]
        parts.append('</div></div>')
        parts += [
            f'<div class="site" data-number="{i}">{_maps(by_name[name], look.picture)}</div>'
            for i, name in enumerate(names)
            if name in by_name
        ]
        parts += _figures(look)
        parts.append('</div>')
    return [*parts, '</div></section>']


def _overlay(look: Look, site: SiteLook | None) -> str:
    if site is None:
        return '<p>no such site in this detector</p>'
    about = f'<h3>{html.escape(site.name)}: {html.escape(site.kind)}, {site.shape[0]} channels</h3>'
    if site.overlay is None:
        return f'{about}<p>{_why_no_overlay(site)}</p>'
    low, high = span(site.overlay, site.ends)
    bar = (
        '<div class="bar"></div><div class="ends">'
        f'<span>{low:.3f}</span><span>gate</span><span>{high:.3f}</span></div>'
    )
    return about + _figure(
        overlaid(look, site),
        f'gate of positions: {range_text(site)}',
        f'gates of {site.name} over the picture',
        bar,
    )


def _why_no_overlay(site: SiteLook) -> str:
    if site.spatial is not None or site.shape[1:] == (0, 0):
        return 'Its map is not one of the whole picture, but of regions.'
    return 'It treats all positions alike: a gate of channels only.'


def _maps(site: SiteLook, picture: np.ndarray) -> str:
    parts = []
    for what, chosen in (('most open', site.opened), ('most closed', site.closed)):
        if chosen:
            maps = ''.join(
                _figure(_grey(values, picture), f'channel {channel}: {gate:.3f}', f'channel {channel}')
                for channel, gate, values in chosen
            )
            parts.append(f'<h3>{what} channels</h3><div class="maps">{maps}</div>')
    return ''.join(parts)


def _figures(look: Look) -> list[str]:
    parts = []
    if any(site.channels for site in look.sites):
        rows = sum(len(site.channels) for site in look.sites)
        parts.append(_drawn(draw_channels, look, 9, 1.2 + 0.2 * rows, 'channel gates of every site'))
        parts.append(_drawn(draw_histogram, look, 9, 3, 'histogram of channel gates'))
    if look.contrast.size:
        parts.append(
            _drawn(
                draw_contrast,
                look,
                9,
                1.2 + 0.24 * len(look.contrast),
                'gates within detections less outside',
            )
        )
    if look.cams:
        parts.append(f'<h3>Grad-CAM at {html.escape(look.cam_layer)}</h3><div class="pair">')
        parts += [
            _figure(with_cam(look, i), cam_text(look, i), f'Grad-CAM of detection {i}')
            for i in range(len(look.cams))
        ]
        parts.append('</div>')
    return parts


def _drawn(draw: Callable, look: Look, width: float, height: float, alt: str) -> str:
    figure = Figure(figsize=(width, height), layout='constrained')
    canvas = FigureCanvasAgg(figure)
    draw(figure.subplots(), look)
    canvas.draw()
    return _figure(np.asarray(canvas.buffer_rgba())[..., :3], '', alt, kind='PNG')


def _grey(values: np.ndarray, picture: np.ndarray) -> np.ndarray:
    """In the picture's proportions, which a pipeline may have changed."""
    low, high = float(values.min()), float(values.max())
    scaled = (values - low) / (high - low) if high > low else np.zeros_like(values)
    grey = Image.fromarray((scaled * 255).round().astype(np.uint8))
    size = 160, max(round(160 * picture.shape[0] / picture.shape[1]), 1)
    return np.asarray(grey.resize(size, Image.Resampling.NEAREST))


def _figure(pixels: np.ndarray, caption: str, alt: str, more: str = '', kind: str = 'JPEG') -> str:
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, kind, **(dict(quality=88) if kind == 'JPEG' else {}))
    source = f'data:image/{kind.lower()};base64,{base64.b64encode(data.getvalue()).decode()}'
    return (
        f'<figure><img src="{source}" alt="{html.escape(alt)}" width="{pixels.shape[1]}" '
        f'height="{pixels.shape[0]}">{more}<figcaption>{html.escape(caption)}</figcaption></figure>'
    )
