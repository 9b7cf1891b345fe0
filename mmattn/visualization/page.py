"""Write the inspections of several images as one HTML page that needs no other file and no network."""

from __future__ import annotations

import html
from collections.abc import Iterable
from pathlib import Path

from mmattn.files import write_file
from mmattn.visualization.html_attention import SCRIPT, STYLE, attention_html
from mmattn.visualization.html_page import html_page
from mmattn.visualization.inspection import ImageInspection

_WIDE = 'body{max-width:1700px}'


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
    body = [f'<p>{html.escape(text)}</p>', *attention_html(inspections)]
    write_file(path, html_page(title, body, STYLE + _WIDE, SCRIPT))
