"""Measure how long a study of COCO's size takes to evaluate, and write the table into docs/study.md.

python benchmarks/study_evaluation.py           measure, write results/study_evaluation.json and the page
python benchmarks/study_evaluation.py --page    the page again, from the file

A made data set: 5000 images, 80 classes, 40 runs (8 variants, 5 seeds) of 150,000 detections, 2 processes.
"""

import json
import os
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
from pages import run, with_text

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / 'benchmarks/results/study_evaluation.json'
PAGE = ROOT / 'docs/study.md'
BEGIN, END = '<!-- benchmarks/study_evaluation.py -->', '<!-- end -->'
IMAGES, CLASSES, OBJECTS, DETECTIONS, RUNS, WORKERS = 5000, 80, 36_781, 150_000, 40, 2
SMALL = 10  # the part of it on which the engines are compared
SIDE = 640
ROWS = {
    'main': 'AP, AP50, AP75',
    'all': 'all: twelve metrics, classes, mistakes, images',
    'cached': 'all again, from the cache',
}
NOTE = """{runs} runs of {detections:,} made detections on {images:,} images of {classes} classes, boxes, by
hotcoco {hotcoco} in {workers} processes on {cores} cores ({processor}), of which other work had its
part (load {load:.1f} at the start). On a {small}th of the images, pycocotools {pycocotools} takes
{faster:.0f} times as long for the twelve metrics of one run with the jackknife, and no number differs by
more than {largest_difference:.1e}."""
PARTS = {'main': ('main',), 'all': ('summary', 'classes', 'mistakes', 'images')}


def write_set(folder, share=1):
    """Write the annotations and return what detections are made of."""
    random = np.random.default_rng(0)
    images, objects = IMAGES // share, OBJECTS // share
    size = np.exp(random.normal(4, 1, (objects, 2))).clip(4, 500)
    boxes = np.concatenate([random.uniform(0, 1, (objects, 2)) * (SIDE - size), size], axis=1).round(2)
    of_image = random.integers(0, images, objects)
    of_class = (random.exponential(CLASSES / 4, objects).astype(int)) % CLASSES
    annotations = [
        dict(id=n, image_id=i, category_id=c, bbox=box, area=box[2] * box[3] * 0.7, iscrowd=int(n % 100 == 0))
        for n, (i, c, box) in enumerate(zip(of_image.tolist(), of_class.tolist(), boxes.tolist()), 1)
    ]
    content = dict(
        images=[dict(id=n, file_name=f'{n:012}.jpg', height=SIDE, width=SIDE) for n in range(images)],
        categories=[dict(id=n, name=f'class {n}') for n in range(CLASSES)],
        annotations=annotations,
    )
    (folder / 'ann.json').write_text(json.dumps(content))
    return of_image, of_class, boxes, images


def write_run(folder, made_of, seed, share=1):
    """Write the detections of a run: some good, some shifted, some of another class, most background."""
    of_image, of_class, boxes, images = made_of
    random = np.random.default_rng(seed + 1)
    number = DETECTIONS // share
    model, quality = random.integers(0, len(boxes), number), random.random(number)
    found = boxes[model]
    found[:, :2] += random.normal(0, 0.05, (number, 2)) * found[:, 2:]
    found[:, 2:] *= np.exp(random.normal(0, 0.1, (number, 2)))
    found[quality < 0.5, :2] = random.uniform(0, SIDE / 2, (int((quality < 0.5).sum()), 2))
    classes = np.where(quality < 0.9, of_class[model], random.integers(0, CLASSES, number))
    scores = np.where(quality < 0.5, random.beta(1, 8, number), random.beta(3, 2, number)).round(4)
    path = folder / f'run{seed}.json'
    columns = (of_image[model].tolist(), classes.tolist(), found.round(2).tolist(), scores.tolist())
    path.write_text(
        json.dumps([dict(image_id=i, category_id=c, bbox=b, score=s) for i, c, b, s in zip(*columns)])
    )
    return path


def measure(repeats):
    """Evaluate all runs in ways that a study needs; ``repeats`` is for the comparison of the engines."""
    from mmattn.study.evaluation import EvaluationSettings, engine_class, evaluate_runs

    results = dict(
        images=IMAGES,
        classes=CLASSES,
        detections=DETECTIONS,
        runs=RUNS,
        workers=WORKERS,
        load=os.getloadavg()[0],
    )
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        made_of = write_set(folder)
        paths = [write_run(folder, made_of, seed) for seed in range(RUNS)]
        seconds, processor = {}, {}
        for name in ROWS:
            settings = EvaluationSettings(
                str(folder / 'ann.json'),
                parts=PARTS.get(name, PARTS['all']),
                cache=None if name == 'main' else str(folder / 'cache'),
            )
            seconds[name], processor[name], found = _timed(
                lambda s=settings: evaluate_runs(paths, s, WORKERS)
            )
        results |= dict(
            seconds=seconds, processor_seconds=processor, ap=[float(each.arrays['AP'][0]) for each in found]
        )
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        path = write_run(folder, write_set(folder, SMALL), 0, SMALL)
        ratios, largest = [], 0.0
        for _ in range(repeats):
            times, arrays = {}, {}
            for engine in ('pycocotools', 'hotcoco'):
                settings = EvaluationSettings(str(folder / 'ann.json'), parts=('summary',), engine=engine)
                _, times[engine], (found,) = _timed(lambda s=settings: evaluate_runs([path], s))
                arrays[engine] = np.stack(list(found.arrays.values()))
            ratios.append(times['pycocotools'] / times['hotcoco'])
            largest = max(largest, float(np.nanmax(np.abs(arrays['pycocotools'] - arrays['hotcoco']))))
        engines = {name: engine_class(name).version for name in ('hotcoco', 'pycocotools')}
    return results | dict(small=SMALL, ratios=ratios, largest_difference=largest, engines=engines)


def _timed(function):
    """Return seconds on the clock, seconds of processors in all processes, and the result."""
    start, used = time.perf_counter(), _used()
    result = function()
    return time.perf_counter() - start, _used() - used, result


def _used():
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def page(results):
    """Return the page with the table of these results between its markers."""
    lines = ['| evaluated, with the jackknife | seconds | seconds of processors |', '|---|--:|--:|']
    lines += [
        f'| {text} | {results["seconds"][name]:.0f} | {results["processor_seconds"][name]:.0f} |'
        for name, text in ROWS.items()
    ]
    note = NOTE.format(
        **results,
        **results['engines'],
        faster=min(results['ratios']),
        processor=results['machine']['processor'],
        cores=results['machine']['cores'],
    )
    return with_text(PAGE.read_text(encoding='utf-8'), BEGIN, END, '\n'.join([*lines, '', note]))


if __name__ == '__main__':
    run(vars(), measure, repeats=2)
