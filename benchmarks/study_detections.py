"""Simulate the detections of a study: a pool of images with detections, and runs that perturb them.

A study draws images from the pool with replacement. Every detection keeps what it has in the pool, and gets
random effects of its image, its variant, its seed and of their combinations, on its score and on its box.
Variants differ by nothing but their random effects, unless a cell says so.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

CANVAS = 640
GRID = 4
CELL = CANVAS // GRID


@dataclass(frozen=True)
class Pool:
    """Images with objects and detections of one class, as flat arrays.

    Args:
        objects: Boxes as (x, y, width, height).
        object_image: Image of each object, ascending.
        target: Object of each detection, -1 for background; detections are in the order of images.
        detection_image: Image of each detection.
        logit: Logit of its score.
        offset: Offset of its box from its object's: of the centre, in units of the object's size, and of the
            logarithm of the size, (detections, 4).
        background: Box of a detection of background; others ignore it.
        images: Number of images.
    """

    objects: np.ndarray
    object_image: np.ndarray
    target: np.ndarray
    detection_image: np.ndarray
    logit: np.ndarray
    offset: np.ndarray
    background: np.ndarray
    images: int


@dataclass(frozen=True)
class Effects:
    """Standard deviations of the random effects of runs, in units of a logit, and fixed effects.

    Args:
        seed: Effect of a seed on all objects, the same for all variants.
        run: Effect of one run (variant x seed) on all objects.
        box_run: Effect of one run on the logarithm of its boxes' errors.
        image: Difficulty of an image, the same for all runs.
        image_seed: Image x seed.
        image_variant: Image x variant.
        detection: Every detection of every run by itself.
        box: Error of a box, in units of its object's size.
        last_run: Factor of ``run``, ``box_run`` for the last variant: a noisier one.
        last_shift: Added to the logits of objects of the last variant: a better one.
    """

    seed: float = 0.1
    run: float = 0.06
    box_run: float = 0.01
    image: float = 0.8
    image_seed: float = 0.3
    image_variant: float = 0.8
    detection: float = 0.5
    box: float = 0.06
    last_run: float = 1.0
    last_shift: float = 0.0


@dataclass(frozen=True)
class Detections:
    """The detections of one run on a study's images.

    Args:
        scores: Their scores.
        boxes: Their boxes as (x, y, width, height).
        image: Their image, counted in the study, ascending.
        target: Object of the study that they are of; -1 for background.
        overlap: Intersection over union with that object.
    """

    scores: np.ndarray
    boxes: np.ndarray
    image: np.ndarray
    target: np.ndarray
    overlap: np.ndarray


def generated_pool(images: int = 4000, seed: int = 0) -> Pool:
    """Make a pool of images without any data.

    An image is a grid of 4 x 4 cells. It has 1 + Poisson(1) objects and Poisson(1.5) detections of
    background, at most 8 of each, in cells of their own. So no box can overlap an object of another cell by
    half, and a detection is matched to its own object or to none. A third of the objects has a second
    detection.
    """
    rng = np.random.default_rng(seed)
    objects, detections = [], []
    for image in range(images):
        cells = rng.permutation(GRID * GRID)
        number = min(1 + rng.poisson(1.0), 8)
        for cell in cells[:number]:
            _add_detections(rng, detections, image, len(objects), rng.random() < 1 / 3)
            objects.append((image, *_box(rng, cell)))
        for cell in cells[number : number + min(rng.poisson(1.5), 8)]:
            detections.append((image, -1, rng.normal(-1.5, 1), (0, 0, 0, 0), _box(rng, cell)))
    return _pool(objects, detections, images)


def coco_pool(
    annotations: Path, results: Path | None = None, seed: int = 0, most_overlap: float = 0.3
) -> Pool:
    """Make a pool of the images of a COCO annotation file, all classes taken as one.

    Objects that overlap an earlier one of their image are left out, as crowds are, so that a detection has
    one object at most that it can match.

    Args:
        annotations: The annotation file.
        results: A file of detections of these images; without it they are made as in
            :func:`generated_pool`.
        seed: Seed of what is made.
        most_overlap: Intersection over union above which an object is left out.
    """
    rng = np.random.default_rng(seed)
    content = json.loads(Path(annotations).read_text())
    of_image = defaultdict(list)
    for each in content['annotations']:
        kept = of_image[each['image_id']]
        if not each.get('iscrowd') and min(each['bbox'][2:]) >= 1:
            if not kept or overlaps(np.array([each['bbox']]), np.array(kept)).max() <= most_overlap:
                kept.append(each['bbox'])
    found = defaultdict(list)
    for each in json.loads(Path(results).read_text()) if results else ():
        found[each['image_id']].append((each['score'], each['bbox']))
    with_any = found.keys() if results else of_image.keys()
    ids = sorted({each['id'] for each in content['images']} & with_any)
    objects, detections = [], []
    for image, image_id in enumerate(ids):
        first, boxes = len(objects), np.array(of_image[image_id], float).reshape(-1, 4)
        objects += [(image, *box) for box in boxes]
        if results:
            for score, box in found[image_id]:
                detections.append((image, *_linked(score, np.array(box, float), boxes, first)))
        else:
            for target in range(first, len(objects)):
                _add_detections(rng, detections, image, target, rng.random() < 1 / 3)
            for _ in range(rng.poisson(0.75 * max(len(boxes), 1))):
                detections.append((image, -1, rng.normal(-1.5, 1), (0, 0, 0, 0), (0, 0, 1, 1)))
    return _pool(objects, detections, len(ids))


def simulate(rng: np.random.Generator, pool: Pool, effects: Effects, images: int, variants: int, seeds: int):
    """Simulate a study.

    Returns:
        The objects' images and boxes, and a list of variants of lists of seeds of :class:`Detections`.
    """
    drawn = rng.integers(pool.images, size=images)
    object_at, object_image = _rows(pool.object_image, drawn, pool.images)
    at, image = _rows(pool.detection_image, drawn, pool.images)
    # The place of each drawn object, to which the detections of the same drawn image refer.
    first_object = np.searchsorted(pool.object_image, drawn)
    begin = np.searchsorted(object_image, np.arange(images))
    target = pool.target[at]
    is_object = target >= 0
    own = np.where(is_object, begin[image] + target - first_object[image], -1)
    e = effects
    logit = pool.logit[at] + is_object * e.image * rng.standard_normal(images)[image]
    of_seed = rng.standard_normal(seeds)
    image_seed = e.image_seed * rng.standard_normal((seeds, images))
    runs = []
    for variant in range(variants):
        last = variant == variants - 1
        factor, shift = (e.last_run, e.last_shift) if last else (1.0, 0.0)
        image_variant = e.image_variant * rng.standard_normal(images)
        runs.append([])
        for seed in range(seeds):
            of_run, of_box = factor * rng.standard_normal(2)
            skill = shift + e.seed * of_seed[seed] + e.run * of_run
            scores = logit + is_object * (skill + (image_variant + image_seed[seed])[image])
            scores = scores + e.detection * rng.standard_normal(len(at))
            error = e.box * np.exp(e.box_run * of_box)
            offset = pool.offset[at] + error * rng.standard_normal((len(at), 4))
            offset = np.clip(offset, -0.6, 0.6)
            runs[-1].append(_detections(pool, scores, at, target, own, image, offset))
    return object_image, pool.objects[object_at], runs


def _detections(pool, logit, at, target, own, image, offset) -> Detections:
    """Return the detections whose score is not too small to be written."""
    seen = logit > -3
    dx, dy, dw, dh = offset[seen].T
    # In units of the object: a unit square against a box whose centre and size are off.
    width, height = np.exp(dw), np.exp(dh)
    inner = _common(dx, width) * _common(dy, height)
    overlap = np.where(target[seen] >= 0, inner / (1 + width * height - inner), 0.0)
    ours = pool.objects[target[seen]]
    w, h = ours[:, 2] * width, ours[:, 3] * height
    x = ours[:, 0] + ours[:, 2] * (0.5 + dx) - w / 2
    y = ours[:, 1] + ours[:, 3] * (0.5 + dy) - h / 2
    boxes = np.where((target[seen] >= 0)[:, None], np.stack([x, y, w, h], 1), pool.background[at[seen]])
    return Detections(1 / (1 + np.exp(-logit[seen])), boxes, image[seen], own[seen], overlap)


def _common(shift: np.ndarray, size: np.ndarray) -> np.ndarray:
    return np.clip(np.minimum(0.5, shift + size / 2) - np.maximum(-0.5, shift - size / 2), 0, None)


def overlaps(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return intersection over union of boxes (x, y, width, height), (first, second)."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum((first[:, :2] + first[:, 2:])[:, None], (second[:, :2] + second[:, 2:])[None])
    inner = np.clip(high - low, 0, None).prod(-1)
    return inner / (first[:, 2:].prod(-1)[:, None] + second[:, 2:].prod(-1)[None] - inner)


def _rows(of_image: np.ndarray, drawn: np.ndarray, images: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of the drawn images, and which of the draws each row belongs to."""
    ends = np.searchsorted(of_image, np.arange(images + 1))
    counts = (ends[1:] - ends[:-1])[drawn]
    image = np.repeat(np.arange(len(drawn)), counts)
    return np.arange(len(image)) + np.repeat(ends[drawn] - (np.cumsum(counts) - counts), counts), image


def _box(rng: np.random.Generator, cell: int) -> tuple[float, float, float, float]:
    width, height = rng.uniform(0.15, 0.6, 2) * CELL
    row, column = divmod(int(cell), GRID)
    x = column * CELL + 0.2 * CELL + rng.uniform(0, 0.6 * CELL - width)
    y = row * CELL + 0.2 * CELL + rng.uniform(0, 0.6 * CELL - height)
    return x, y, width, height


def _add_detections(rng, detections: list, image: int, target: int, twice: bool) -> None:
    logit = rng.normal(1.0, 1.2)
    for each in (logit, logit - rng.exponential(2.0))[: 1 + twice]:
        detections.append((image, target, each, rng.normal(0, 0.07, 4), (0, 0, 1, 1)))


def _linked(score: float, box: np.ndarray, boxes: np.ndarray, first: int):
    """Return target, logit, offset and background box of a detection."""
    logit = float(np.log(score / (1 - score))) if 0 < score < 1 else float(np.sign(score - 0.5) * 5)
    if len(boxes):
        overlap = overlaps(box[None], boxes)[0]
        best = int(overlap.argmax())
        if overlap[best] >= 0.2 and min(box[2:]) > 0:
            own = boxes[best]
            centre = (box[:2] + box[2:] / 2 - own[:2] - own[2:] / 2) / own[2:]
            return first + best, logit, (*centre, *np.log(box[2:] / own[2:])), (0, 0, 1, 1)
    return -1, logit, (0, 0, 0, 0), tuple(box)


def _pool(objects: list, detections: list, images: int) -> Pool:
    return Pool(
        objects=np.array([each[1:] for each in objects], float),
        object_image=np.array([each[0] for each in objects]),
        target=np.array([each[1] for each in detections]),
        detection_image=np.array([each[0] for each in detections]),
        logit=np.array([each[2] for each in detections]),
        offset=np.array([each[3] for each in detections], float),
        background=np.array([each[4] for each in detections], float),
        images=images,
    )
