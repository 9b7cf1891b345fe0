"""A study whose runs have made detections, for the tests of its report."""

import json
import random
import shutil
from pathlib import Path

import pytest
import torch

from mmattn.engine import build_model
from mmattn.study.config import read_study
from mmattn.study.plan import prepare_folders
from mmattn.study.record import FAILED, FINISHED, file_hash, read_record, write_record
from mmattn.study.report import make_report
from tests.squares import CLASSES
from tests.test_blocks.helpers import randomise
from tests.test_study.studies import write_study


def detections(truth, noise, seed):
    """The objects, shifted at random."""
    draw = random.Random(seed)
    return [
        dict(
            image_id=each['image_id'],
            category_id=each['category_id'],
            bbox=[value + draw.gauss(0, noise) for value in each['bbox'][:2]] + each['bbox'][2:],
            score=draw.random(),
        )
        for each in truth['annotations']
    ]


def write_checkpoint(folder):
    """Write a checkpoint into the folder of a run, as MMEngine does."""
    torch.manual_seed(0)
    model = build_model(str(folder / 'config.py'))
    randomise(model.attention)
    meta = dict(dataset_meta=dict(classes=CLASSES))
    torch.save(dict(state_dict=model.state_dict(), meta=meta), folder / 'epoch_2.pth')
    (folder / 'last_checkpoint').write_text(str(folder / 'epoch_2.pth'))


@pytest.fixture
def study(made_study, tmp_path):
    """A finished study: SE is far better than plain. The last run of the static gate has failed.

    The first two runs of SE have left a checkpoint, no other has.
    """
    return Path(shutil.copytree(made_study, tmp_path / 'work'))


@pytest.fixture(scope='package')
def report(made_study):
    return make_report(made_study)


@pytest.fixture(scope='package')
def made_study(base, squares, tmp_path_factory):
    """The study that each test gets a copy of; its report is the one that tests may read."""
    folder = tmp_path_factory.mktemp('study')
    work = folder / 'work'
    shutil.copy(base, folder / 'base.py')
    path = write_study(folder / 'study.py', controls="['plain', 'static_gate']", seeds='[0, 1, 2]')
    truth = json.loads((squares / 'annotations/val.json').read_text())
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv('MMATTN_DATA_ROOT', raising=False)
        runs = prepare_folders(read_study(path), work)
    for run in runs:
        record = read_record(run.folder)
        if (run.variant, run.seed) == ('static_gate', 2):
            write_record(run.folder, record | dict(status=FAILED, error='the <disk> is full'))
            continue
        noise = 1 if run.variant == 'se' else 6
        file = run.folder / 'detections.bbox.json'
        file.write_text(json.dumps(detections(truth, noise, f'{run}')))
        at = [
            dict(
                step=f'epoch_{i}', epoch=i, iteration=4 * i, detections={}, metrics={'coco/bbox_mAP': 0.1 * i}
            )
            for i in (1, 2)
        ]
        at[1]['metrics'] = {'coco/bbox_mAP': 0.2 + 0.01 * run.seed}
        machine = dict(versions=dict(torch='2.13.0', mmattn='0.1'))
        record |= dict(
            status=FINISHED, seconds=90.0, sessions=[{}], machine=machine, metrics=at[1]['metrics']
        )
        record |= dict(evaluations=at, detections=dict(bbox=file.name))
        record['hashes'][file.name] = file_hash(file)
        write_record(run.folder, record)
        if run.variant == 'se' and run.seed < 2:
            write_checkpoint(run.folder)
    return work
