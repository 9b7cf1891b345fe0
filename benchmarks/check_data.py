"""Measure what checking data of COCO's size costs before training, and write the table into docs/data.md.

python benchmarks/check_data.py           measure, write results/check_data.json and the page
python benchmarks/check_data.py --page    the page again, from the file
"""

import json
import os
import statistics
import tempfile
import time
from pathlib import Path

from pages import run, with_text

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / 'benchmarks/results/check_data.json'
PAGE = ROOT / 'docs/data.md'
BEGIN, END = '<!-- benchmarks/check_data.py -->', '<!-- end -->'
IMAGES, BOXES, CLASSES, FILES = 118_287, 860_001, 80, 100
ROWS = {
    'read': 'reading the annotation file and parsing its images, categories and first annotations',
    'unopened': 'that, and all rules, and looking for 5000 images',
    'check': 'that, and reading the headers of 5000 images: the whole check',
    'loaded': 'checking the boxes that were loaded, before the first step',
    'load': "MMDetection's own loading of the annotation file, for comparison",
}


def write_set(root):
    """Write a data set with as many images and boxes as COCO's train2017; few of the files differ."""
    import numpy as np
    from PIL import Image

    random = np.random.default_rng(0)
    (root / 'images').mkdir()
    sizes = [(640, 480) if i % 2 else (480, 640) for i in range(FILES)]
    names = []
    for i in range(IMAGES):
        names.append(f'{i:012}.jpg')
        path = root / 'images' / names[-1]
        if i < FILES:
            noise = random.integers(0, 255, (sizes[i][1] // 8, sizes[i][0] // 8, 3), dtype=np.uint8)
            Image.fromarray(noise).resize(sizes[i]).save(path, exif=Image.Exif())
        else:
            os.link(root / 'images' / names[i % FILES], path)
    images = [
        dict(id=i + 1, file_name=name, width=sizes[i % FILES][0], height=sizes[i % FILES][1], license=1)
        for i, name in enumerate(names)
    ]
    where = random.integers(0, IMAGES, BOXES)
    boxes = random.uniform((0, 0, 8, 8), (400, 400, 79, 79), (BOXES, 4)).round(2)
    with open(root / 'train.json', 'w', encoding='utf-8') as file:
        file.write(f'{{"info":{{}},"images":{json.dumps(images)},"annotations":[')
        for i, (image, (x, y, w, h)) in enumerate(zip(where.tolist(), boxes.tolist())):
            filler = f',{x},{y}' * 22  # polygons as long as COCO's
            corners = f'{x},{y},{x + w:.2f},{y},{x + w:.2f},{y + h:.2f},{x},{y + h:.2f}'
            file.write(
                f'{"," if i else ""}{{"segmentation":[[{corners}{filler}]],"area":{w * h:.2f},"iscrowd":0,'
                f'"image_id":{image + 1},"bbox":[{x},{y},{w},{h}],"category_id":{i % CLASSES + 1},'
                f'"id":{i + 1}}}'
            )
        categories = [dict(id=i + 1, name=f'class {i}') for i in range(CLASSES)]
        file.write(f'],"categories":{json.dumps(categories)}}}')


def config(root):
    """Return a config that trains on the data set."""
    from mmengine.config import Config

    pipeline = [dict(type='mmattn.LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True)]
    return Config(
        dict(
            train_dataloader=dict(
                dataset=dict(
                    type='CocoDataset',
                    data_root=f'{root}/',
                    ann_file='train.json',
                    data_prefix=dict(img='images/'),
                    metainfo=dict(classes=tuple(f'class {i}' for i in range(CLASSES))),
                    pipeline=pipeline,
                )
            )
        )
    )


def measure(repeats):
    """Time each step of the check, and MMDetection's loading, on a data set that is made for it."""
    from mmdet.registry import DATASETS
    from mmdet.utils import register_all_modules

    from mmattn.engine import check_data
    from mmattn.engine.data import check_loaded
    from mmattn.engine.data.reading import read_annotations

    register_all_modules()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_set(root)
        cfg = config(root)
        steps = dict(
            read=lambda: read_annotations(str(root / 'train.json')),
            unopened=lambda: check_data(cfg, ('train',), open_images=False),
            check=lambda: check_data(cfg, ('train',)),
        )
        seconds = {name: [] for name in ROWS}
        for _ in range(repeats):
            for name, step in steps.items():
                seconds[name].append(_timed(step)[0])
        (_, data), *_ = check_data(cfg, ('train',))
        assert data.partial and not data.findings, data.findings
        took, dataset = _timed(lambda: DATASETS.build(cfg.train_dataloader.dataset))
        seconds['load'].append(took)
        for _ in range(repeats):
            seconds['loaded'].append(_timed(lambda: check_loaded(dataset))[0])
        size = os.path.getsize(root / 'train.json')
    return dict(images=IMAGES, boxes=BOXES, megabytes=round(size / 1e6), seconds=seconds)


def _timed(function):
    """Return how long a function kept the processors busy, which others on the machine do not change."""
    start = time.process_time()
    result = function()
    return time.process_time() - start, result


def page(results):
    """Return the page with the table of these results between its markers."""
    lines = ['| step | seconds of a processor |', '|---|---|']
    lines += [
        f'| {text} | {statistics.median(results["seconds"][name]):.1f} |' for name, text in ROWS.items()
    ]
    machine = results['machine']
    note = (
        f'A made data set of {results["images"]:,} images and {results["boxes"]:,} boxes, in a file of '
        f'{results["megabytes"]} MB,\nas COCO 2017 has them; medians of {len(results["seconds"]["check"])}. '
        f'{machine["processor"]}, Python {machine["versions"]["python"]}.'
    )
    return with_text(PAGE.read_text(encoding='utf-8'), BEGIN, END, '\n'.join([*lines, '', note]))


if __name__ == '__main__':
    run(vars(), measure, repeats=5)
