"""Write the files of the shapes data set: images, annotations and marker."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TextIO

import cv2
import numpy as np
from mmengine.utils import ProgressBar

from mmattn.datasets.scenes import CLASSES, area_limits, make_scene
from mmattn.datasets.shapes_settings import FIRST_IDS, MARKER, ShapesSettings, made_with
from mmattn.files import write_file

_WORTH_A_PROCESS = 50  # images

Task = tuple[str, int]
"""Split and number of an image; numbers start at 1."""


def write_files(
    folder: Path, settings: ShapesSettings, workers: int | None = None, file: TextIO | None = None
) -> None:
    """Draw the data set into an empty folder.

    Args:
        folder: Where the files go.
        settings: What to draw.
        workers: Number of processes that draw; by default one per processor, four at most, and fewer for
            few images.
        file: Where the progress bar goes; standard output by default.
    """
    (folder / 'annotations').mkdir()
    tasks: list[Task] = []
    for split in FIRST_IDS:
        (folder / 'images' / split).mkdir(parents=True)
        tasks += [(split, number) for number in range(1, getattr(settings, split) + 1)]
    bar = ProgressBar(len(tasks), **({} if file is None else dict(file=file)))
    found: dict[str, list[list[dict]]] = {split: [] for split in FIRST_IDS}
    step = max(1, len(tasks) // 50)  # a log file gets one long line of all updates
    for done, instances in enumerate(_drawn(folder, settings, tasks, workers), start=1):
        found[tasks[done - 1][0]].append(instances)
        if done % step == 0 or done == len(tasks):
            bar.update(done - bar.completed)
    bar.file.write('\n')
    digests = {}
    for split, images in found.items():
        data = json.dumps(_coco(split, images, settings), separators=(',', ':')).encode()
        write_file(folder / 'annotations' / f'{split}.json', data)
        digests[split] = _digest(data)
    marker = dict(**made_with(settings), sha256=digests, area_limits=area_limits(settings.size))
    write_file(folder / MARKER, json.dumps(marker, indent=2) + '\n')


def find_damage(folder: Path, settings: ShapesSettings, marker: dict) -> str | None:
    """Return what is wrong with a data set of these settings; None if its files are complete."""
    for split in FIRST_IDS:
        path = folder / 'annotations' / f'{split}.json'
        if not path.is_file():
            return f'annotations/{split}.json is missing'
        if _digest(path.read_bytes()) != (marker.get('sha256') or {}).get(split):
            return f'annotations/{split}.json was changed'
        wanted = {f'{number:06d}.png' for number in range(1, getattr(settings, split) + 1)}
        images = folder / 'images' / split
        missing = wanted - set(os.listdir(images) if images.is_dir() else ())
        if missing:
            return f'{len(missing)} of images/{split} are missing, such as {min(missing)}'
    return None


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _drawn(
    folder: Path, settings: ShapesSettings, tasks: list[Task], workers: int | None
) -> Iterator[list[dict]]:
    """Draw the images, and yield the annotations of each in the order of ``tasks``."""
    draw = partial(_draw_one, folder, settings)
    if workers is None:  # a process takes seconds to start
        workers = min(4, os.cpu_count() or 1, -(-len(tasks) // _WORTH_A_PROCESS))
    if workers < 1:
        raise ValueError(f'workers={workers}: give at least 1')
    if workers == 1:
        yield from map(draw, tasks)
        return
    # spawn: torch or a data loader may have started threads here, which fork does not survive;
    # one OpenCV thread each, as the processes share the processors already
    with get_context('spawn').Pool(workers, cv2.setNumThreads, (1,)) as pool:
        yield from pool.imap(draw, tasks, chunksize=8)


def _draw_one(folder: Path, settings: ShapesSettings, task: Task) -> list[dict]:
    split, number = task
    # each image has random numbers of its own, so it does not matter which process draws it, or when
    rng = np.random.default_rng([settings.seed, FIRST_IDS[split], number])
    image, instances = make_scene(rng, settings.size)
    path = folder / 'images' / split / f'{number:06d}.png'
    done, data = cv2.imencode('.png', image[:, :, ::-1])
    if not done:
        raise OSError(f'OpenCV could not encode {path}')
    path.write_bytes(data.tobytes())
    return instances


def _coco(split: str, drawn: list[list[dict]], settings: ShapesSettings) -> dict:
    """Return the annotation file of a split, in COCO's format."""
    images, annotations = [], []
    for index, instances in enumerate(drawn):
        image_id = FIRST_IDS[split] + index
        images.append(
            dict(
                id=image_id,
                file_name=f'{split}/{index + 1:06d}.png',
                width=settings.size,
                height=settings.size,
                license=1,
            )
        )
        for instance in instances:
            label = instance.pop('label')
            annotations.append(
                dict(
                    id=FIRST_IDS[split] + len(annotations),
                    image_id=image_id,
                    category_id=label + 1,
                    **instance,
                )
            )
    made = made_with(settings)
    return dict(
        info=dict(
            description='Generated shapes: a class is a texture on a shape',
            version=str(made['version']),
            contributor='mmattn',
            split=split,
            **made['settings'],
        ),
        licenses=[dict(id=1, name='Apache License 2.0', url='https://www.apache.org/licenses/LICENSE-2.0')],
        images=images,
        annotations=annotations,
        categories=[
            dict(id=index + 1, name=name, supercategory=name.split()[1]) for index, name in enumerate(CLASSES)
        ],
    )
