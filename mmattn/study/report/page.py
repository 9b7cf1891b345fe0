"""The report of a study as one HTML page that needs no other file and no network."""

from __future__ import annotations

import html

from mmattn.study.comparison import TextTable
from mmattn.study.report.page_rows import STYLE as ROWS_STYLE
from mmattn.visualization.html_page import html_page, list_html, table_html, text_html
from mmattn.visualization.html_plot import STYLE as PLOT_STYLE
from mmattn.visualization.html_plot import plot_html


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
    body = [
        *(f'<p>{text_html(paragraph)}</p>' for paragraph in lead),
        list_html(verdicts, 'verdicts'),
        list_html(notes, 'note'),
        *(plot_html(svg, caption, number) for number, (caption, svg) in enumerate(plots)),
        *(_table(*each) for each in tables),
    ]
    return html_page(title, body, PLOT_STYLE + ROWS_STYLE)


def _table(table: TextTable, above: str) -> str:
    note = f'<p class="note">{text_html(table.note)}</p>' if table.note else ''
    heading = f'<h2>{html.escape(table.title)}</h2>'
    return f'{heading}{note}{above}{table_html(table.columns, table.rows, table.title)}'
