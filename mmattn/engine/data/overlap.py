"""What the data sets of a config share that they should not."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from mmattn.engine.data.examination import Examination
from mmattn.engine.data.findings import REFUSE, TELL, Finding


def parts_are_apart(trained: Sequence[Examination], evaluated: Sequence[Examination]) -> Iterator[Finding]:
    """Tell of images that are trained on and evaluated on."""
    files = {path for data in trained for path in _paths(data)}
    for data in evaluated:
        both = [path for path in _paths(data) if path in files]
        if both:
            yield Finding(
                TELL,
                f'{len(both)} of the {len(data.images)} images of {data.source.where} are trained on too, so '
                'the metrics say little about other images',
                [os.path.basename(path) for path in both],
            )


def leave_out_dropped(metric: Examination, datasets: Sequence[Examination]) -> None:
    """Leave the images that data sets left out also out of an evaluator's own file, all of which counts."""
    if any(data.dropped for data in datasets):
        ids = {image['id'] for data in datasets for image in data.images}
        metric.images[:] = [image for image in metric.images if image['id'] in ids]


def evaluator_knows_the_images(metric: Examination, datasets: Sequence[Examination]) -> Finding | None:
    """Return that an evaluator's annotation file lacks images that it will be asked about."""
    ids = {image['id'] for data in datasets for image in data.images}
    unknown = sorted(ids - {image['id'] for image in metric.images}, key=str)
    if not unknown:
        return None
    return Finding(
        REFUSE,
        f"{metric.source.key} '{metric.source.path}' does not know {len(unknown)} of the {len(ids)} images "
        'to evaluate',
        [f'id {own}' for own in unknown],
        f'Set it to the annotation file of {metric.source.part}_dataloader',
    )


def _paths(data: Examination) -> Iterator[str]:
    if data.source.folder is not None:
        folder = os.path.realpath(data.source.folder)
        yield from (os.path.join(folder, str(image['file_name'])) for image in data.images)
