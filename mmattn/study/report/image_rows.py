"""Draw the images on which a variant and the control differ most: ground truth, both detections, gates."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from mmattn.engine.data.sources import find_sources
from mmattn.study.comparison import Answer
from mmattn.study.evaluation import (
    Detections,
    GroundTruth,
    ImageDifference,
    read_detections,
    read_ground_truth,
)
from mmattn.study.plan import Run
from mmattn.study.report.folder import StudyFolder
from mmattn.study.report.run_gates import NoGates, RunGates
from mmattn.visualization.dataset_image import dataset_image
from mmattn.visualization.drawing import COLOURS, draw_boxes, draw_masks

SCORE_THR = 0.3
"""Detections with a lower score are not drawn."""
LONG_SIDE = 320
"""Length in pixels to which the longer side of an image is scaled."""

Boxes = list[dict[str, Any]]
"""Boxes as :func:`~mmattn.visualization.drawing.draw_boxes` takes them; of masks, ``mask`` too."""


@dataclass(frozen=True)
class Panel:
    """One image of a row.

    Attributes:
        caption: What is shown.
        alt: The same for a reader who does not see it.
        image: The image.
    """

    caption: str
    alt: str
    image: Image.Image


@dataclass(frozen=True)
class ImageRow:
    """An image of the data set as the control and a variant see it, by one seed of both.

    Attributes:
        iou_type: ``'bbox'`` or ``'segm'``.
        variant: The variant.
        control: The control.
        name: File name of the image.
        rank: Its number among those on which the variant gains, or among those on which it loses, from 1.
        difference: The AP of both, and the seed.
        panels: Ground truth, detections of the control and of the variant, and the variant's gates; empty if
            the image cannot be read.
        note: Why something is missing; empty if nothing is.
    """

    iou_type: str
    variant: str
    control: str
    name: str
    rank: int
    difference: ImageDifference
    panels: tuple[Panel, ...]
    note: str = ''

    @property
    def change(self) -> str:
        """``'gained'`` or ``'lost'``."""
        return 'gained' if self.difference.difference > 0 else 'lost'

    @property
    def file(self) -> str:
        """Name of its image file."""
        return f'{self.iou_type}_{self.variant}_{self.change}_{self.rank}.png'

    @property
    def title(self) -> str:
        """Which image it is, and how much the variant gains or loses on it."""
        return f'{self.change.capitalize()} {abs(100 * self.difference.difference):.2f} points: {self.name}'

    @property
    def about(self) -> str:
        """What the AP is, and of which seed the detections are."""
        each = self.difference
        seeds = f'mean over {each.seeds} seeds' if each.seeds > 1 else 'one seed'
        return (
            f'AP of this image: {self.control} {100 * each.control:.2f}, {self.variant} '
            f'{100 * each.variant:.2f}, {seeds}. Shown: seed {each.seed} of both'
        )


def image_rows(
    folder: StudyFolder,
    answer: Answer,
    number: int,
    device: str = 'cpu',
    progress: Callable[[int, int], None] | None = None,
) -> tuple[ImageRow, ...]:
    """Draw the images on which the variants gain most and lose most.

    The detections are those that the runs have left; the gates, those of the checkpoints they have left.

    Args:
        folder: The study.
        answer: The comparison of its runs.
        number: At most so many images on which a variant gains, and so many on which it loses.
        device: Where detectors run, whose gates are shown.
        progress: Called with the number of rows that are drawn and of all.
    """
    wanted = [
        (iou_type, variant, rank, each)
        for (iou_type, variant), images in answer.different_images.items()
        for rank, each in _ranked(images, number)
    ]
    if not wanted:
        return ()
    runs = {(run.variant, run.seed): run for run in folder.finished}
    source = next(each for each in find_sources(folder.config(answer.control), 'val') if each.folder)
    truths = {part: read_ground_truth(folder.ann_file, part) for part in folder.iou_types}
    found = _detections(wanted, answer.control, runs, folder, truths)
    gates = _Gates(runs, device)
    rows = []
    for iou_type, variant, rank, each in sorted(wanted, key=lambda entry: (entry[1], entry[3].seed)):
        truth = truths[iou_type]
        name = truth.image_names[each.image] or str(truth.image_ids[each.image])
        sides = {
            'ground truth': _objects(truth, each.image),
            answer.control: found[iou_type, answer.control, each.seed, each.image],
            variant: found[iou_type, variant, each.seed, each.image],
        }
        panels: list[Panel] = []
        note = ''
        try:
            panels += _panels(dataset_image(source, name), name, sides, truth.class_names)
            panels.append(gates.panel(variant, each.seed, f'{source.folder}/{name}', name))
        except ValueError as error:
            note = f'Not drawn, the image cannot be read: {error}'
        except NoGates as error:
            note = f'Without gates: {error}'
        rows.append(ImageRow(iou_type, variant, answer.control, name, rank, each, tuple(panels), note))
        if progress:
            progress(len(rows), len(wanted))
    order = {key: index for index, key in enumerate(answer.different_images)}
    return tuple(sorted(rows, key=lambda row: (order[row.iou_type, row.variant], row.change, row.rank)))


def _ranked(images: Sequence[ImageDifference], number: int) -> list[tuple[int, ImageDifference]]:
    """Return the images with the largest gains, then those with the largest losses, with their ranks."""
    gained = [each for each in images if each.difference > 0][:number]
    lost = [each for each in images if each.difference < 0][:number]
    return [*enumerate(gained, 1), *enumerate(lost, 1)]


def _detections(
    wanted: Iterable[tuple[str, str, int, ImageDifference]],
    control: str,
    runs: Mapping[tuple[str, int], Run],
    folder: StudyFolder,
    truths: Mapping[str, GroundTruth],
) -> dict[tuple[str, str, int, int], Boxes]:
    """Return the detections to draw, by iou type, variant, seed and image; each file is read once."""
    images: dict[tuple[str, str, int], set[int]] = defaultdict(set)
    for iou_type, variant, _, each in wanted:
        for name in (control, variant):
            images[iou_type, name, each.seed].add(each.image)
    found = {}
    for (iou_type, variant, seed), of_run in images.items():
        run = runs[variant, seed]
        path = run.folder / folder.finished[run]['detections'][iou_type]
        detections = read_detections(path, truths[iou_type])
        for image in of_run:
            chosen = np.flatnonzero((detections.images == image) & (detections.scores >= SCORE_THR))
            found[iou_type, variant, seed, image] = [
                dict(_box(detections, index), score=float(detections.scores[index])) for index in chosen
            ]
    return found


def _objects(truth: GroundTruth, image: int) -> Boxes:
    return [
        dict(_box(truth, index), iscrowd=bool(truth.crowd[index]))
        for index in np.flatnonzero(truth.images == image)
    ]


def _box(boxes: Detections | GroundTruth, index: int) -> dict[str, Any]:
    box = dict(bbox=boxes.boxes[index].tolist(), category_id=int(boxes.classes[index]))
    return box if boxes.masks is None else dict(box, mask=boxes.masks[index])


def _panels(
    pixels: np.ndarray, name: str, sides: Mapping[str, Boxes], class_names: Sequence[str]
) -> list[Panel]:
    """Draw an image once for each side, with the boxes, and the masks if there are any, of that side."""
    scaled = _scaled(pixels)
    scale = scaled.width / pixels.shape[1]
    names = dict(enumerate(class_names))
    colours = {number: COLOURS[number % len(COLOURS)] for number in names}
    panels = []
    for side, boxes in sides.items():
        drawn = scaled.copy()
        masks = [coco_mask.decode(box['mask']).astype(bool) for box in boxes if 'mask' in box]
        draw_masks(drawn, masks, [colours[box['category_id']] for box in boxes])
        draw_boxes(drawn, boxes, names, colours, scale)
        what = side if side == 'ground truth' else f'{side}, detections'
        numbers = Counter(names[box['category_id']] for box in boxes)
        each = ', '.join(f'{number} {label}' for label, number in numbers.items()) or 'none'
        panels.append(Panel(f'{what} ({len(boxes)})', f'{name}, {what}: {each}', drawn))
    return panels


def _scaled(pixels: np.ndarray) -> Image.Image:
    image = Image.fromarray(pixels)
    scale = LONG_SIDE / max(image.size)
    size = [max(1, round(side * scale)) for side in image.size]
    return image.resize(size, Image.Resampling.BICUBIC)


class _Gates:
    """The gates of runs on images; of one run at a time, whose detector is kept."""

    def __init__(self, runs: Mapping[tuple[str, int], Run], device: str):
        self._runs, self._device = runs, device
        self._of: tuple[str, int] | None = None
        self._gates: RunGates | NoGates | None = None

    def panel(self, variant: str, seed: int, path: str, name: str) -> Panel:
        if self._of != (variant, seed):
            self._of, self._gates = (variant, seed), None  # the last detector makes place for the next
            try:
                self._gates = RunGates(self._runs[variant, seed], self._device)
            except NoGates as error:
                self._gates = error
        if isinstance(self._gates, NoGates):
            raise self._gates
        caption, drawn = self._gates.draw(path, name)
        return Panel(f'{variant}, {caption}', f'{name}, {caption}', _scaled(drawn))
