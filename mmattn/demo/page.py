"""Show what a run of the demo did on one HTML page that needs no other file and no network."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmattn.demo.coco_metrics import MEANINGS
from mmattn.demo.image_pairs import Pair
from mmattn.demo.learning_curve import Curves, plot_losses, plot_precisions
from mmattn.demo.targets import verdicts
from mmattn.files import write_file
from mmattn.visualization import ImageInspection
from mmattn.visualization.html_attention import NOTE, SCRIPT, attention_html
from mmattn.visualization.html_attention import STYLE as ATTENTION_STYLE
from mmattn.visualization.html_image import image_tag
from mmattn.visualization.html_page import html_page, list_html, table_html, text_html
from mmattn.visualization.html_plot import STYLE as PLOT_STYLE
from mmattn.visualization.html_plot import plot_html, to_svg

_STYLE = """
.facts{display:grid;grid-template-columns:max-content 1fr;gap:.2em 1em;font-size:.9em}
.facts dt{color:var(--note)} .facts dd{margin:0;overflow-wrap:anywhere}
@media(max-width:35em){.facts{grid-template-columns:1fr} .facts dd{margin-bottom:.4em}}
.pairs{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(30em,100%),1fr));gap:0 1.5em}
td.text{white-space:normal} .plots{display:flex;flex-wrap:wrap;gap:0 1.5em}
"""
_NO_GATES = 'The detector has no attention whose gates can be shown.'
_NEXT = (
    'Does attention help here? One run cannot say: two trainings that differ in their seed alone differ in '
    'AP too. `make study` trains the detector with and without attention on several seeds, and gives the '
    'difference with its interval.'
)


def write_page(
    path: str | Path,
    title: str,
    facts: Mapping[str, str],
    metrics: Mapping[str, float | None],
    curves: Curves,
    pairs: Sequence[Pair],
    inspections: Sequence[ImageInspection],
) -> None:
    """Write the page.

    Args:
        path: File to write.
        title: Title of the page.
        facts: What was run, by what it is.
        metrics: COCO's metrics.
        curves: What the log says, see :func:`~mmattn.demo.learning_curve.read_scalars`.
        pairs: Images with ground truth beside detections.
        inspections: What attention does on some images; empty if there is none to see.
    """
    body = [
        list_html(verdicts(metrics), 'verdicts'),
        _facts(facts),
        '<h2>Learning curve</h2>',
        '<div class="plots">',
        _plot(plot_losses, curves, 'Losses on the training images', 0),
        _plot(plot_precisions, curves, f'AP on the validation images, {_shown(metrics["AP"])} at the end', 1),
        '</div>',
        "<h2>COCO's twelve metrics</h2>",
        _metrics(metrics),
        '<h2>Ground truth beside detections</h2>',
        '<div class="pairs">',
        *(f'<figure>{image_tag(image, f"{name}: ground truth and detections", "JPEG")}'
          f'<figcaption>{html.escape(name)}</figcaption></figure>' for name, image in pairs),
        '</div>',
        '<h2>What attention does</h2>',
        f'<p>{html.escape(NOTE if inspections else _NO_GATES)}</p>',
        *attention_html(({'': each} for each in inspections), level=3),
        '<h2>And now</h2>',
        f'<p>{text_html(_NEXT)}</p>',
    ]  # fmt: skip
    write_file(path, html_page(title, body, PLOT_STYLE + ATTENTION_STYLE + _STYLE, SCRIPT))


def _facts(facts: Mapping[str, str]) -> str:
    rows = ''.join(
        f'<dt>{html.escape(name)}</dt><dd>{html.escape(text)}</dd>' for name, text in facts.items()
    )
    return f'<dl class="facts">{rows}</dl>'


def _plot(draw: Callable[[Axes, Curves], None], curves: Curves, caption: str, number: int) -> str:
    figure = Figure(figsize=(5.5, 4), layout='constrained')
    draw(figure.subplots(), curves)
    return plot_html(to_svg(figure), caption, number)


def _shown(value: float | None) -> str:
    return '-' if value is None else f'{value:.3f}'


def _metrics(metrics: Mapping[str, float | None]) -> str:
    rows = [(name, _shown(metrics[name]), meaning) for name, meaning in MEANINGS.items()]
    return table_html(('metric', 'value', 'what it is'), rows, "COCO's twelve metrics")
