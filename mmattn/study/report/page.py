"""The report of a study as one HTML page that needs no other file and no network."""

from __future__ import annotations

import html
import re

from mmattn.study.comparison import TextTable
from mmattn.study.report.page_rows import STYLE as ROWS_STYLE

_STYLE = """
:root{color-scheme:light dark;--line:#8885;--soft:#8882;--note:#595959}
@media(prefers-color-scheme:dark){:root{--note:#b4b4b4}}
body{font-family:system-ui,sans-serif;line-height:1.5;margin:0 auto;padding:1em;max-width:70em}
h1{line-height:1.2} h2{margin-top:2em} .scroll{overflow-x:auto}
table{border-collapse:collapse;font-size:.9em}
th,td{padding:.25em .7em;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap}
th:first-child,td:first-child,.text{text-align:left} thead th{background:var(--soft)}
figure{margin:1em 0;overflow-x:auto;background:#fff;border-radius:6px;width:fit-content;max-width:100%}
figure svg{max-width:100%;height:auto;display:block} figure.wide svg{min-width:34em}
figcaption{color:#444;padding:.3em .7em;font-size:.9em}
.verdicts{font-size:1.1em} .note{color:var(--note)} code{background:var(--soft);padding:0 .2em}
"""


def report_page(
    title: str,
    lead: list[str],
    verdicts: list[str],
    notes: list[str],
    plots: list[tuple[str, str]],
    tables: list[tuple[TextTable, str]],
) -> str:
    """Return the page.

    Args:
        title: Its title.
        lead: Paragraphs below it; text between backticks is code.
        verdicts: The answers, one a line.
        notes: What a reader has to know beside them, one a line.
        plots: SVG elements, each with its caption.
        tables: Each with the HTML that stands between its heading and itself, in their order.
    """
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f'<title>{html.escape(title)}</title><style>{_STYLE}{ROWS_STYLE}</style></head><body><main>',
        f'<h1>{html.escape(title)}</h1>',
        *(f'<p>{_text(paragraph)}</p>' for paragraph in lead),
        _list(verdicts, 'verdicts'),
        _list(notes, 'note'),
        *(
            f'<figure class="{_class(svg)}" role="img" aria-label="{html.escape(caption)}">'
            f'{_unique(svg, number)}'
            f'<figcaption>{html.escape(caption)}</figcaption></figure>'
            for number, (caption, svg) in enumerate(plots)
        ),
        *(_table(*each) for each in tables),
        '</main></body></html>\n',
    ]
    return '\n'.join(parts)


def _list(items: list[str], name: str) -> str:
    entries = ''.join(f'<li>{_text(item)}</li>' for item in items)
    return f'<ul class="{name}">{entries}</ul>' if items else ''


def _text(text: str) -> str:
    text = re.sub(r'\*\*(.+?)\*\*', r'<strong>\1</strong>', html.escape(text))
    return re.sub(r'`([^`]+)`', r'<code>\1</code>', text)


def _class(svg: str) -> str:
    """Say that a plot is wide: on a narrow screen it is scrolled, and others are made smaller."""
    _, _, width, height = map(float, re.search(r'viewBox="([^"]+)"', svg).group(1).split())
    return 'wide' if width > 2 * height else 'plot'


def _unique(svg: str, number: int) -> str:
    """Return an SVG whose ids are not those of another on the page."""
    svg = re.sub(r'\bid="', f'id="f{number}-', svg)
    return re.sub(r'(url\(#|href="#)', rf'\g<1>f{number}-', svg)


def _is_text(cell: str) -> bool:
    """True for a cell of words; a factor such as ``x1.03``, a number or a dash is none."""
    return re.match(r'(?!x\d)[^\W\d]', cell) is not None


def _table(table: TextTable, above: str) -> str:
    columns = zip(*table.rows)
    marks = [' class="text"' if any(map(_is_text, cells)) else '' for cells in columns]
    head = ''.join(
        f'<th scope="col"{mark}>{html.escape(column)}</th>' for column, mark in zip(table.columns, marks)
    )
    rows = ''.join(
        '<tr>' + ''.join(f'<td{mark}>{html.escape(cell)}</td>' for cell, mark in zip(row, marks)) + '</tr>'
        for row in table.rows
    )
    note = f'<p class="note">{_text(table.note)}</p>' if table.note else ''
    return (
        f'<h2>{html.escape(table.title)}</h2>{note}{above}<div class="scroll" tabindex="0" role="region" '
        f'aria-label="{html.escape(table.title)}"><table><thead><tr>{head}</tr></thead>'
        f'<tbody>{rows}</tbody></table></div>'
    )
