"""Evaluate the results files of many runs on one annotation file, on all images and in the jackknife."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

import numpy as np

from mmattn.study.evaluation.cache import cache_key, cached
from mmattn.study.evaluation.engines import Engine, engine_class
from mmattn.study.evaluation.ground_truth import GroundTruth, read_ground_truth
from mmattn.study.evaluation.identify import AUTO
from mmattn.study.evaluation.jackknife import MOST_GROUPS, SPLIT_SEED, jackknife_groups
from mmattn.study.evaluation.parts import PARTS
from mmattn.study.evaluation.results_file import read_detections
from mmattn.study.record import file_hash

_FORMAT = 2
"""Raised whenever the code of a part changes its numbers: what the cache has of before is not used then."""


@dataclass(frozen=True)
class EvaluationSettings:
    """What is evaluated, and how.

    Args:
        ann_file: The annotation file, in COCO format.
        iou_type: ``'bbox'`` or ``'segm'``.
        parts: What is computed: ``'summary'``, ``'classes'``, ``'mistakes'``, ``'images'``.
        categories: What ``category_id`` is in the results: ``'auto'`` or one of ``CATEGORY_READINGS``.
        groups: Most groups of the jackknife.
        engine: The engine's name; None for the fastest that is installed.
        cache: The folder where evaluations are kept; None to keep none.
    """

    ann_file: str
    iou_type: str = 'bbox'
    parts: tuple[str, ...] = ('summary', 'classes', 'mistakes', 'images')
    categories: str = AUTO
    groups: int = MOST_GROUPS
    engine: str | None = None
    cache: str | None = None


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The evaluation of one run.

    Args:
        arrays: The values of each metric, on all images, then without each group, (1 + groups,); and what
            else the parts give.
        notes: How the results file was read.
        without_detections: Number of images without detections, which count as the others do.
    """

    arrays: Mapping[str, np.ndarray]
    notes: tuple[str, ...]
    without_detections: int


def evaluate_run(results: str | os.PathLike, settings: EvaluationSettings) -> Evaluation:
    """Evaluate one results file; what the cache has is not computed again.

    Raises:
        FileNotFoundError: If a file is missing.
        EvaluationRefused: If a file cannot be evaluated.
    """
    results = os.fspath(results)
    for what, path in (('results', results), ('annotation', settings.ann_file)):
        if not os.path.isfile(path):
            raise FileNotFoundError(f"there is no {what} file '{path}'")
    kept = dict(
        format=_FORMAT,
        results=file_hash(results),
        annotations=_digest(settings.ann_file, os.stat(settings.ann_file).st_mtime_ns),
        iou_type=settings.iou_type,
        categories=settings.categories,
        groups=settings.groups,
        split_seed=SPLIT_SEED,
        engine=(engine_class(settings.engine).name, engine_class(settings.engine).version),
    )

    @functools.cache
    def prepared() -> tuple[Engine, GroundTruth, Any, np.ndarray]:
        truth, engine = _opened(
            settings.ann_file, kept['annotations'], settings.iou_type, engine_class(settings.engine)
        )
        return (
            engine,
            truth,
            read_detections(results, truth, settings.categories),
            jackknife_groups(len(truth.image_ids), settings.groups),
        )

    def compute(part: str) -> dict[str, np.ndarray]:
        _, truth, detections, _ = prepared()
        return {
            **PARTS[part](*prepared()),
            _NOTES: np.array(detections.notes, dtype=np.str_),
            _WITHOUT: np.array(len(truth.image_ids) - len(np.unique(detections.images))),
        }

    arrays: dict[str, np.ndarray] = {}
    for part in settings.parts:
        key = cache_key(dict(kept, part=part))
        arrays |= cached(settings.cache, key, functools.partial(compute, part))
    notes, without = arrays.pop(_NOTES), arrays.pop(_WITHOUT)
    return Evaluation(arrays, tuple(map(str, notes)), int(without))


_NOTES, _WITHOUT = 'notes', 'images without detections'


@functools.lru_cache(maxsize=1)
def _digest(path: str, changed: int) -> str:
    return file_hash(path)


@functools.lru_cache(maxsize=1)
def _opened(path: str, digest: str, iou_type: str, engine: type[Engine]) -> tuple[GroundTruth, Engine]:
    """Return the annotations, which are the same for all runs of a process."""
    truth = read_ground_truth(path, iou_type)
    return truth, engine(truth)


def evaluate_runs(
    results: Sequence[str | os.PathLike],
    settings: EvaluationSettings,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> list[Evaluation]:
    """Evaluate the results files of many runs, in order.

    Args:
        results: The files.
        settings: Those of all runs.
        workers: Number of processes. The first file is evaluated before they start, so that a mistake that
            all files have is reported at once.
        progress: Called with the number of files that are done and of all, after each.
    """
    progress = progress or (lambda done, of: None)
    evaluations = []
    if results:
        evaluations.append(evaluate_run(results[0], settings))
        progress(1, len(results))
    if workers > 1 and len(results) > 2:
        # Spawned: a fork would copy the threads' locks of the engine and of PyTorch, but not the threads.
        with ProcessPoolExecutor(min(workers, len(results) - 1), mp_context=get_context('spawn')) as pool:
            return evaluations + _gather(pool, results[1:], settings, progress)
    for path in results[1:]:
        evaluations.append(evaluate_run(path, settings))
        progress(len(evaluations), len(results))
    return evaluations


def _gather(
    pool: Executor, results: Sequence, settings: EvaluationSettings, progress: Callable[[int, int], None]
) -> list[Evaluation]:
    futures: list[Future] = [pool.submit(evaluate_run, os.fspath(path), settings) for path in results]
    evaluations = []
    try:
        for future in futures:
            evaluations.append(future.result())
            progress(len(evaluations) + 1, len(results) + 1)
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    return evaluations
