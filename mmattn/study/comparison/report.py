"""Write the answer of a comparison as Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from dataclasses import asdict
from typing import Any

from mmattn.files import write_file
from mmattn.study.comparison.answer import Answer
from mmattn.study.comparison.tables import answer_tables, markdown_row, summary_of, what_is_new
from mmattn.study.statistics import Comparison
from mmattn.version import __version__


def to_markdown(answer: Answer) -> str:
    """Return the report."""
    percent = f'{100 * answer.level:g} %'
    about = f'{what_is_new(answer)} of the same source'
    head = [
        f'# {", ".join(v for v in answer.variants if v != answer.control)} against {answer.control}',
        '',
        f'{answer.images} images of `{answer.ann_file}`, evaluated by {answer.engine}. All metrics and their '
        f'differences are in points (hundredths). Intervals of {percent} hold for {about}; a verdict '
        'takes into account how many variants are compared, but not how many metrics or classes.',
        *_seed_remark(answer),
        '',
        markdown_row(('variant', 'seed', 'file', 'SHA-256')),
        '|---|--:|---|---|',
        *(
            markdown_row((run.variant, str(run.seed), f'`{file}`', f'`{answer.digests[file][:12]}`'))
            for run in answer.runs
            for file in dict.fromkeys(run.files.values())
        ),
    ]
    notes = ['', *(f'- {note}' for note in answer.notes)] if answer.notes else []
    return '\n'.join([*head, *notes, *(f'\n{table.markdown()}' for table in answer_tables(answer))]) + '\n'


def _seed_remark(answer: Answer) -> list[str]:
    if len({run.seed for run in answer.runs}) > 1:
        return []
    return [
        '',
        '**One run of each variant.** Two runs of one config differ by their seed alone, often by more than '
        'what is looked for. So nothing is claimed about the variants trained again; the intervals say what '
        'other images would change for these very runs.',
    ]


def to_csv(answer: Answer) -> str:
    """Return a line for each metric and variant, with the numbers as fractions."""
    file = io.StringIO()
    lines = [_comparison_record(answer, each) for each in answer.comparisons]
    writer = csv.DictWriter(file, list(lines[0]), lineterminator='\n')
    writer.writeheader()
    writer.writerows(lines)
    return file.getvalue()


def to_json(answer: Answer) -> str:
    """Return all of an answer, with the numbers as fractions."""
    content = dict(
        mmattn=__version__,
        engine=answer.engine,
        annotations=answer.ann_file,
        images=answer.images,
        level=answer.level,
        control=answer.control,
        variants=answer.variants,
        runs=[
            dict(
                variant=run.variant,
                seed=run.seed,
                files={t: dict(path=file, sha256=answer.digests[file]) for t, file in run.files.items()},
            )
            for run in answer.runs
        ],
        notes=answer.notes,
        comparisons=[_comparison_record(answer, each) for each in answer.comparisons],
        mistakes=[asdict(each) for each in answer.mistakes],
        images_that_differ_most=[
            dict(
                iou_type=iou_type,
                variant=variant,
                images=[
                    dict(
                        image=answer.image_names[each.image],
                        ap_control=each.control,
                        ap=each.variant,
                        difference=each.difference,
                        seed=each.seed,
                    )
                    for each in images
                ],
            )
            for (iou_type, variant), images in answer.different_images.items()
        ],
    )
    return json.dumps(_without_nan(content), indent=1) + '\n'


def write_answer(answer: Answer, folder: str | os.PathLike) -> list[str]:
    """Write ``report.md``, ``report.csv`` and ``report.json`` into a folder; return their paths."""
    os.makedirs(folder, exist_ok=True)
    paths = []
    for suffix, text in (
        ('md', to_markdown(answer)), ('csv', to_csv(answer)), ('json', to_json(answer))
    ):  # fmt: skip
        paths.append(os.path.join(folder, f'report.{suffix}'))
        write_file(paths[-1], text)
    return paths


def _comparison_record(answer: Answer, each: Comparison) -> dict:
    control, variant = (summary_of(answer, each.metric, name) for name in (answer.control, each.variant))
    return dict(
        metric=each.metric,
        variant=each.variant,
        control=each.control,
        paired_seeds=len(each.seeds),
        mean_control=control.mean,
        spread_control=control.spread,
        mean=variant.mean,
        spread=variant.spread,
        difference=each.difference,
        low=each.low,
        high=each.high,
        level=each.level,
        p=each.p,
        p_holm=each.p_holm,
        probability=each.probability,
        detectable=each.detectable,
        relevant=each.relevant,
        seeds_needed=each.seeds_needed,
        images_needed=each.images_needed,
        variances=None
        if each.parts is None
        else dict(
            between_seeds=each.parts.between_seeds,
            own_images=each.parts.own_images,
            shared_images=each.parts.shared_images,
        ),
        verdict=each.words,
        note=each.note,
    )


def _without_nan(value: Any) -> Any:
    """JSON has no NaN: null stands for what is not known."""
    if isinstance(value, dict):
        return {key: _without_nan(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
