"""The rows of drawn images on the page of a study's report, and the same as Markdown."""

from __future__ import annotations

import html
from collections.abc import Sequence

from mmattn.study.report.image_rows import SCORE_THR, ImageRow
from mmattn.visualization.html_image import image_tag

STYLE = """
.panels{display:grid;grid-template-columns:repeat(4,minmax(0,1fr));gap:.7em;margin:.5em 0 1.5em}
.panels figure{margin:0} .panels img{width:100%} .panels figcaption{font-size:.8em}
h3{margin:1.2em 0 .2em;overflow-wrap:anywhere}
@media(max-width:45em){.panels{grid-template-columns:repeat(2,minmax(0,1fr))}}
"""
"""What the page needs to lay the rows out: four images beside each other, two on a narrow screen."""

_QUALITY = 75  # a study of eight variants has about 200 images on its page
NOTE = (
    f'Drawn are detections with a score of at least {SCORE_THR:g}, by the seed whose difference on the image '
    'is the nearest to the mean over seeds. The gates are those of the site at which they span most of their '
    'range on this image, dark where they are the lowest and bright where they are the highest; of blocks '
    'with channel gates alone, a line for each site, from its first channel to its last.'
)


def rows_html(rows: Sequence[ImageRow]) -> str:
    """Return the rows of a variant as HTML; the images are in it."""
    if not rows:
        return ''
    return f'<p class="note">{html.escape(NOTE)}</p>' + ''.join(map(_row, rows))


def _row(row: ImageRow) -> str:
    panels = ''.join(
        f'<figure>{image_tag(panel.image, panel.alt, "JPEG", _QUALITY)}'
        f'<figcaption>{html.escape(panel.caption)}</figcaption></figure>'
        for panel in row.panels
    )
    about = '. '.join(filter(None, (row.about, row.note)))
    return f'<h3>{html.escape(row.title)}</h3><p>{html.escape(about)}.</p><div class="panels">{panels}</div>'


def rows_markdown(title: str, rows: Sequence[ImageRow], folder: str) -> str:
    """Return the rows of a variant as Markdown.

    Args:
        title: The heading.
        rows: The rows.
        folder: Where their image files are, seen from the Markdown file.
    """
    lines = [f'## {title}', '', NOTE, '']
    for row in rows:
        about = '. '.join(filter(None, (row.about, row.note)))
        lines += [f'### {row.title}', '', f'{about}.', '']
        if row.panels:
            alt = '; '.join(panel.alt for panel in row.panels)
            lines += [f'![{alt}]({folder}/{row.file})', '']
    return '\n'.join(lines)
