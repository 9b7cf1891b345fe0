"""The tables of a comparison, for the screen and for Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.markup import escape
from rich.table import Table

from mmattn.study.comparison.answer import Answer, Estimate, MistakeChange
from mmattn.study.evaluation import SUMMARY, ImageDifference
from mmattn.study.statistics import Comparison, Summary, Verdict

IMAGES_NOTE = 'The AP of the image alone, over the classes that have an object in it, mean over seeds.'


@dataclass(frozen=True)
class TextTable:
    """A table of texts: the first column is a name, others are numbers.

    Args:
        title: Its heading.
        columns: The headings of the columns.
        rows: The cells.
        note: What a reader needs to know to read it.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ''

    def for_screen(self) -> Table:
        """Return it as a table of rich."""
        # Names of variants, classes and images may have brackets, which rich takes as its markup.
        table = Table(title=escape(self.title), title_justify='left', header_style='bold')
        for number, column in enumerate(self.columns):
            table.add_column(escape(column), justify='left' if number == 0 else 'right', overflow='fold')
        for row in self.rows:
            table.add_row(*map(escape, row))
        return table

    def markdown(self) -> str:
        """Return it as Markdown."""
        lines = [f'## {self.title}', '']
        lines += [self.note, ''] if self.note else []
        lines.append(markdown_row(self.columns))
        lines.append('|' + '|'.join(['---', *['--:'] * (len(self.columns) - 1)]) + '|')
        return '\n'.join([*lines, *map(markdown_row, self.rows)])


def answer_tables(answer: Answer) -> list[TextTable]:
    """Return all tables of an answer, the most important first. All numbers of metrics are points."""
    iou_types = dict.fromkeys(each.metric.partition('/')[0] for each in answer.comparisons)
    tables = []
    for iou_type in iou_types:
        tables.append(_metrics(answer, iou_type))
        tables.append(_needs(answer, iou_type))
        mistakes = [each for each in answer.mistakes if each.iou_type == iou_type]
        tables += [_mistakes(answer, iou_type, mistakes)] if mistakes else []
    for iou_type in iou_types:
        tables.append(_classes(answer, iou_type))
    tables += [_images(answer, *key, images) for key, images in answer.different_images.items() if images]
    return [table for table in tables if table.rows]


def markdown_row(cells: Iterable[str]) -> str:
    """Return a row of a table in Markdown."""
    return f'| {" | ".join(cell.replace("|", chr(92) + "|") for cell in cells)} |'


def summary_of(answer: Answer, metric: str, variant: str) -> Summary:
    """Return mean and spread of a metric of a variant."""
    return next(each for each in answer.summaries if (each.metric, each.variant) == (metric, variant))


def _metrics(answer: Answer, iou_type: str) -> TextTable:
    rows = [
        (*_values(answer, each, name), _number(each.probability, '{:.3f}', 1), verdict_words(each))
        for name in SUMMARY
        for each in _of_metric(answer, f'{iou_type}/{name}')
    ]
    return TextTable(
        _title(iou_type, 'metrics'), (*_columns(answer, 'metric'), 'P(> 0)', 'verdict'), tuple(rows)
    )


def _classes(answer: Answer, iou_type: str) -> TextTable:
    begin = f'{iou_type}/AP/'
    rows = [
        (*_values(answer, each, each.metric.removeprefix(begin)), verdict_words(each))
        for each in answer.comparisons
        if each.metric.startswith(begin)
    ]
    return TextTable(
        _title(iou_type, 'AP of each class'),
        (*_columns(answer, 'class'), 'verdict'),
        tuple(rows),
        'With many classes some differ by chance: verdicts do not take their number into account.',
    )


def _columns(answer: Answer, what: str) -> tuple[str, ...]:
    return what, 'variant', f'{answer.control} (control)', 'mean', 'difference', _interval_name(answer)


def _values(answer: Answer, each: Comparison, name: str) -> tuple[str, ...]:
    means = (_mean(summary_of(answer, each.metric, variant)) for variant in (each.control, each.variant))
    return name, each.variant, *means, *_change(each)


def verdict_words(each: Comparison) -> str:
    """Return the verdict; with one seed it is about these runs, and no claim about others."""
    told = each.verdict in (Verdict.BETTER, Verdict.WORSE) and len(each.seeds) == 1
    return f'{each.words} (these runs)' if told else each.words


def _needs(answer: Answer, iou_type: str) -> TextTable:
    found = [each for name in SUMMARY[:3] for each in _of_metric(answer, f'{iou_type}/{name}')]
    points = f'a difference of {100 * found[0].relevant:g}'
    rows = [
        (
            each.metric.partition('/')[2],
            each.variant,
            _number(each.detectable),
            *('-' if number is None else f'{number:,}' for number in (each.seeds_needed, each.images_needed)),
        )
        for each in found
    ]
    return TextTable(
        _title(iou_type, 'what such a comparison can find'),
        ('metric', 'variant', 'smallest difference', f'seeds for {points}', f'images for {points}'),
        tuple(rows),
        'Found in 4 of 5 cases. Seeds are counted on these images, images with these seeds; "-" where no '
        'number would do, or it cannot be told from one seed.',
    )


def _mistakes(answer: Answer, iou_type: str, changes: Sequence[MistakeChange]) -> TextTable:
    interval = _interval_name(answer)
    columns = ('control', 'mean', 'difference', interval)
    return TextTable(
        _title(iou_type, 'mistakes'),
        ('mistake', 'variant', *(f'{what}: {column}' for what in ('cost', 'number') for column in columns)),
        tuple(
            (each.mistake, each.variant, *_estimate(each.cost), *_estimate(each.number, 1.0))
            for each in changes
        ),
        'By the definitions of TIDE. The cost is what AP50 would gain if all mistakes of the type were '
        'mended and no others, in points; the number is that in an image. Less is better.',
    )


def _images(answer: Answer, iou_type: str, variant: str, images: Iterable[ImageDifference]) -> TextTable:
    return TextTable(
        images_title(answer, iou_type, variant),
        ('image', answer.control, variant, 'difference'),
        tuple(
            (
                answer.image_names[each.image],
                _number(each.control),
                _number(each.variant),
                _number(each.difference, '{:+.2f}'),
            )
            for each in images
        ),
        IMAGES_NOTE,
    )


def images_title(answer: Answer, iou_type: str, variant: str) -> str:
    """Return the heading of the images on which a variant differs most from the control."""
    return _title(iou_type, f'images on which {variant} and {answer.control} differ most')


def what_is_new(answer: Answer) -> str:
    """Return for what the intervals hold: without two seeds in common, for new images alone."""
    paired = max(len(each.seeds) for each in answer.comparisons)
    return 'new seeds and new images' if paired > 1 else 'new images'


def _of_metric(answer: Answer, metric: str) -> list[Comparison]:
    return [each for each in answer.comparisons if each.metric == metric]


def _title(iou_type: str, text: str) -> str:
    return f'{dict(bbox="Boxes", segm="Masks")[iou_type]}: {text}'


def _interval_name(answer: Answer) -> str:
    return f'{100 * answer.level:g} % interval'


def _mean(summary: Summary) -> str:
    spread = '' if math.isnan(summary.spread) else f' ± {100 * summary.spread:.2f}'
    return _number(summary.mean) + spread


def _change(each: Comparison | Estimate, factor: float = 100) -> tuple[str, str]:
    interval = '-' if math.isnan(each.low) else f'{factor * each.low:+.2f} to {factor * each.high:+.2f}'
    return _number(each.difference, '{:+.2f}', factor), interval


def _estimate(each: Estimate, factor: float = 100) -> tuple[str, ...]:
    return (
        _number(each.control, factor=factor),
        _number(each.variant, factor=factor),
        *_change(each, factor),
    )


def _number(value: float, text: str = '{:.2f}', factor: float = 100) -> str:
    return '-' if math.isnan(value) else text.format(factor * value)
