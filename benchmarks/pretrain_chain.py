#!/usr/bin/env python
"""Pretrain a small classifier with attention on crops, then train a detector from it and from scratch.

    python benchmarks/pretrain_chain.py FOLDER --crops OTHER_FOLDER ...
    python benchmarks/pretrain_chain.py --page     # only write docs/pretraining.md, from the file

The detector is trained on FOLDER, the classifier on the objects of the other folders, all in COCO's format:
images/, annotations/train.json, annotations/val.json. What is finished is not done again. Needs MMPretrain.
"""

import argparse
import json
import os
import random
import re
import subprocess
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path

import cv2

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / 'benchmarks')]
import study_page  # noqa: E402
from machine import describe  # noqa: E402
from pages import with_text, write_page  # noqa: E402

from mmattn.files import write_file  # noqa: E402

RESULTS = ROOT / 'benchmarks/results/pretrain_chain.json'
PAGE = ROOT / 'docs/pretraining.md'
MARKS = '<!-- benchmarks/pretrain_chain.py -->', '<!-- end -->'
CLASSIFIER = ROOT / 'configs/studies/_base_/resnet18-narrow-cbam_crops.py'
STUDY = ROOT / 'configs/studies/pretrain_chain.py'
SIDE = 96
MOST, FEWEST = 500, 25
"""A class gives at most so many crops; one with fewer objects is left out."""


def objects_of(folder):
    """Return the image file and the box of each object of a data set, by class."""
    found = defaultdict(list)
    for part in ('train', 'val'):
        data = json.loads((folder / f'annotations/{part}.json').read_text(encoding='utf-8'))
        names = {each['id']: each['name'] for each in data['categories']}
        files = {each['id']: each['file_name'] for each in data['images']}
        for each in data['annotations']:
            if not each.get('iscrowd') and min(each['bbox'][2:]) >= 8:
                found[names[each['category_id']]].append((files[each['image_id']], each['bbox']))
    return found


def write_crops(folders, out, fewest=FEWEST):
    """Write objects as a classification set, ``train/CLASS/*.png`` and ``val/CLASS/*.png``, and count them.

    Each tenth image of a data set gives crops to validate on, and none to train on.
    """
    draw, counts = random.Random(0), {}
    for folder in folders:
        objects = objects_of(folder)
        files = sorted({file for boxes in objects.values() for file, _ in boxes})
        of_validation = set(files[::10])
        for name, boxes in sorted(objects.items()):
            if len(boxes) < fewest:
                continue
            name = f'{folder.name}-{re.sub(r"[^0-9A-Za-z]+", "-", name)}'
            chosen = draw.sample(boxes, min(len(boxes), MOST))
            for part in ('train', 'val'):  # both, or classes would be counted differently
                (out / part / name).mkdir(parents=True, exist_ok=True)
            parts = Counter()
            for number, (file, box) in enumerate(sorted(chosen)):
                part = 'val' if file in of_validation else 'train'
                parts[part] += 1
                cv2.imwrite(str(out / part / name / f'{number}.png'), crop(folder / 'images' / file, box))
            counts[name] = dict(parts)
    return counts


def crop(file, box):
    """Return the square around a box, with a fifth more of what is around it, as far as the image goes."""
    image = cv2.imread(str(file))
    (x, y, width, height), half = box, 0.6 * max(box[2:])
    middle = x + width / 2, y + height / 2
    (left, top), (right, bottom) = ([max(round(m + side * half), 0) for m in middle] for side in (-1, 1))
    return cv2.resize(image[top:bottom, left:right], (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def pretrain(crops, classes, work_dir, **options):
    """Train the classifier, and return its checkpoint and accuracy."""
    from mmattn.engine import train
    from tests.codebases import import_codebase

    import_codebase('mmpretrain')
    options = {'model.head.num_classes': classes, **options}
    runner = train(str(CLASSIFIER), str(work_dir), resume='auto', cfg_options=options, data_root=str(crops))
    accuracy = runner.message_hub.get_scalar('val/accuracy/top1').current()
    return dict(checkpoint=f'{work_dir}/epoch_{runner.epoch}.pth', accuracy=accuracy, epochs=runner.epoch)


def detect(folder, work_dir, checkpoint, *options):
    """Train the detector with and without the classifier's weights, each with all seeds, and compare."""
    environment = dict(os.environ, MMATTN_PRETRAINED=str(Path(checkpoint).resolve()))
    study = [sys.executable, str(ROOT / 'tools/study.py')]
    run = [*study, 'run', str(STUDY), '--data-root', str(folder), '--work-dir', str(work_dir), *options]
    subprocess.run([*run, '--workers', '1'], env=environment, check=True)
    subprocess.run([*study, 'report', str(work_dir)], check=True)


def loaded(work_dir, checkpoint):
    """Count the tensors of backbone and attention that a run begins with as the file has them."""
    import torch
    from mmengine.config import Config

    from mmattn.checkpoints import read_checkpoint
    from mmattn.study.variant_config import build_detector

    run = next((work_dir / 'pretrained').glob('seed_*'))
    model = build_detector(Config.fromfile(run / 'config.py'))
    model.init_weights()
    theirs = read_checkpoint(checkpoint)['state_dict']
    ours = {key: value for key, value in model.state_dict().items() if torch.is_tensor(value)}
    ours = {key: value for key, value in ours.items() if key.startswith(('backbone.', 'attention.backbone'))}
    same = [key for key, value in ours.items() if key in theirs and theirs[key].equal(value)]
    logs = ''.join(path.read_text(encoding='utf-8') for path in sorted(run.glob('*/*.log')))
    said = re.search(r'attention: loaded \d+ of \d+ blocks', logs)
    return dict(tensors=len(ours), equal=len(same), said=said and said[0])


def page(results):
    """Return docs/pretraining.md with what was found."""
    study, crops = results['study'], results['crops'].values()
    trained, validated = (sum(each.get(part, 0) for each in crops) for part in ('train', 'val'))
    pretrained, found = results['pretraining'], results['loaded']
    text = '\n\n'.join(
        [
            f'The classifier: {len(results["crops"])} classes, {trained:,} crops to train on, '
            f'{pretrained["epochs"]} epochs, {pretrained["minutes"]:.1f} minutes;\n'
            f'{pretrained["accuracy"]:.1f} % of {validated:,} other crops are named right, where the most '
            f'frequent class is {results["most_frequent"]:.1f} %.\n'
            f'The detector begins with {found["equal"]} of the {found["tensors"]} tensors of its backbone '
            f'and attention from there;\nits log: `{found["said"]}`.',
            study_page.metrics_table(study),
            *(
                ['AP after each evaluation, and its difference from scratch:', study_page.epochs_table(study)]
                if len(study['by_epoch']) > 1
                else []
            ),
            study_page.note(study),
            f'`{results["machine"]["command"]}`',
        ]
    )
    return with_text(PAGE.read_text(encoding='utf-8'), *MARKS, text)


def run(folder, crop_folders, work_dir, fewest=FEWEST, classifier_options=None, study_options=()):
    """Do what is not finished yet, and return all results."""
    file, crops = work_dir / 'classifier.json', work_dir / 'crops'
    if not file.is_file():
        counts = write_crops(crop_folders, crops, fewest)
        begin = time.process_time()
        found = pretrain(crops, len(counts), work_dir / 'classifier', **classifier_options or {})
        minutes = (time.process_time() - begin) / 60
        write_file(file, json.dumps(dict(crops=counts, pretraining=dict(found, minutes=minutes))))
    done = json.loads(file.read_text(encoding='utf-8'))
    checkpoint = done['pretraining'].pop('checkpoint')
    detect(folder, work_dir / 'study', checkpoint, *study_options)
    validated = [each.get('val', 0) for each in done['crops'].values()]
    return dict(
        machine=describe(),
        most_frequent=100 * max(validated) / sum(validated),
        **done,
        loaded=loaded(work_dir / 'study', checkpoint),
        study=study_page.collect(work_dir / 'study'),
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('folder', type=Path, nargs='?', help='data set to detect on')
    parser.add_argument('--crops', type=Path, nargs='+', help='data sets whose objects the classifier learns')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/pretrain_chain'))
    parser.add_argument('--page', action='store_true', help='only write the page, from the file')
    args = parser.parse_args()
    if not args.page:
        if args.folder is None or not args.crops:
            parser.error('give FOLDER and --crops, or --page')
        results = run(args.folder, args.crops, args.work_dir)
        write_file(RESULTS, json.dumps(results, indent=1) + '\n')
    write_page(PAGE, page(json.loads(RESULTS.read_text(encoding='utf-8'))))


if __name__ == '__main__':
    main()
