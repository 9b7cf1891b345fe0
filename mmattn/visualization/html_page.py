"""The frame of an HTML page in one file, to be read light and dark, on a phone and on a desk."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence

_STYLE = """
:root{color-scheme:light dark;--line:#8885;--soft:#8882;--note:#595959}
@media(prefers-color-scheme:dark){:root{--note:#b4b4b4}}
body{font-family:system-ui,sans-serif;line-height:1.5;margin:0 auto;padding:1em;max-width:70em}
h1{line-height:1.2;overflow-wrap:anywhere} h2{margin-top:2em} .scroll{overflow-x:auto}
table{border-collapse:collapse;font-size:.9em}
th,td{padding:.25em .7em;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap}
th:first-child,td:first-child,.text{text-align:left} thead th{background:var(--soft)}
img{max-width:100%;height:auto;display:block} figure{margin:0 0 1em}
figcaption{color:var(--note);padding:.3em 0;font-size:.9em;overflow-wrap:anywhere}
.verdicts{font-size:1.1em} .note{color:var(--note)} code{background:var(--soft);padding:0 .2em}
"""


def html_page(title: str, body: Iterable[str], style: str = '', script: str = '') -> str:
    """Return a page.

    Args:
        title: Its title, and its first heading.
        body: HTML below the heading.
        style: CSS beyond that of all pages.
        script: JavaScript that runs when all else is there.
    """
    return '\n'.join(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f'<title>{html.escape(title)}</title><style>{_STYLE}{style}</style></head><body><main>',
            f'<h1>{html.escape(title)}</h1>',
            *body,
            '</main>',
            *([f'<script>{script}</script>'] if script else []),
            '</body></html>\n',
        ]
    )


def text_html(text: str) -> str:
    """Return a text as HTML: between backticks is code, between double asterisks what is strong.

    Example:
        >>> text_html('**AP** of `a < b`')
        '<strong>AP</strong> of <code>a &lt; b</code>'
    """
    text = re.sub(r'\*\*(.+?)\*\*', r'<strong>\1</strong>', html.escape(text))
    return re.sub(r'`([^`]+)`', r'<code>\1</code>', text)


def list_html(items: Sequence[str], name: str) -> str:
    """Return a list of texts as HTML, of the class ``name``; nothing if there is none."""
    entries = ''.join(f'<li>{text_html(item)}</li>' for item in items)
    return f'<ul class="{name}">{entries}</ul>' if items else ''


def table_html(columns: Sequence[str], rows: Sequence[Sequence[str]], label: str) -> str:
    """Return a table as HTML; one that is too wide is scrolled, by keyboard too.

    Args:
        columns: Headings.
        rows: Texts of the cells.
        label: What the table is, for who does not see it.
    """
    marks = [' class="text"' if any(map(_is_text, cells)) else '' for cells in zip(*rows)]
    head = ''.join(
        f'<th scope="col"{mark}>{html.escape(column)}</th>' for column, mark in zip(columns, marks)
    )
    body = ''.join(
        '<tr>' + ''.join(f'<td{mark}>{html.escape(cell)}</td>' for cell, mark in zip(row, marks)) + '</tr>'
        for row in rows
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{html.escape(label)}">'
        f'<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def _is_text(cell: str) -> bool:
    """True for a cell of words; a factor such as ``x1.03``, a number or a dash is none."""
    return re.match(r'(?!x\d)[^\W\d]', cell) is not None
