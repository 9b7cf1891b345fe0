"""Embed a matplotlib figure in an HTML page as SVG."""

from __future__ import annotations

import html
import io
import re

from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

STYLE = """
figure.plot{margin:1em 0;overflow-x:auto;background:#fff;border-radius:6px;width:fit-content;max-width:100%}
.plot svg{max-width:100%;height:auto;display:block} .plot.wide svg{min-width:34em}
.plot figcaption{color:#444;padding:.3em .7em}
"""
"""What a page needs to lay plots out."""


def to_svg(figure: Figure) -> str:
    """Return a figure as an ``<svg>`` element; the same figure gives the same text."""
    import matplotlib

    text = io.StringIO()
    with matplotlib.rc_context({'svg.hashsalt': 'mmattn', 'svg.fonttype': 'none'}):
        FigureCanvasSVG(figure).print_svg(text, metadata={'Date': None})
    return text.getvalue()[text.getvalue().index('<svg') :]


def plot_html(svg: str, caption: str, number: int) -> str:
    """Return a plot with its caption as HTML. A wide one is scrolled on a narrow screen, others shrink.

    Args:
        svg: What :func:`to_svg` returned.
        caption: Text below the plot, which is also read to who does not see it.
        number: Another one for each plot of a page.
    """
    _, _, width, height = map(float, re.search(r'viewBox="([^"]+)"', svg).group(1).split())
    wide = width > 2 * height
    return (
        f'<figure class="plot{" wide" if wide else ""}" role="img" aria-label="{html.escape(caption)}"'
        f'{" tabindex=0" if wide else ""}>'
        f'{_unique(svg, number)}<figcaption>{html.escape(caption)}</figcaption></figure>'
    )


def _unique(svg: str, number: int) -> str:
    """Return an SVG whose ids are not those of another on the page."""
    svg = re.sub(r'\bid="', f'id="f{number}-', svg)
    return re.sub(r'(url\(#|href="#)', rf'\g<1>f{number}-', svg)
