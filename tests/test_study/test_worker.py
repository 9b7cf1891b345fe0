"""A run in this process: what it leaves, and that one seed gives one result."""

import contextlib
import io
import json
import shutil

import pytest
import torch
from mmengine.config import Config

from mmattn.engine.source_commit import source_commit
from mmattn.study.config import read_study
from mmattn.study.lock import Locked
from mmattn.study.plan import prepare_folders
from mmattn.study.record import file_hash, read_record, state_of, write_record
from mmattn.study.worker import train_run


@pytest.fixture
def runs(a_study, tmp_path):
    """Make the folders of a study's runs."""
    return lambda **settings: prepare_folders(read_study(a_study(**settings)), tmp_path / 'work')


def weights(run):
    return torch.load(run.folder / 'epoch_1.pth', weights_only=False)['state_dict']


def test_a_run_leaves_what_the_report_needs(runs, squares):
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    run = runs(keep_detections="'all'", seeds='[0]', controls="['plain']")[1]
    train_run(run.folder)
    record = read_record(run.folder)
    assert (record['status'], record['iteration'], record['iterations']) == ('finished', 8, 8)
    assert [each['step'] for each in record['evaluations']] == ['epoch_1', 'epoch_2']
    assert record['metrics'] == record['evaluations'][-1]['metrics']
    assert record['detections'] == dict(bbox='detections.bbox.json')
    files = [run.folder / name for name in ('detections.bbox.json', 'evaluations/epoch_2.bbox.json')]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert record['hashes']['detections.bbox.json'] == file_hash(files[0])
    assert record['machine']['versions']['torch'] == torch.__version__ and record['seconds'] > 0
    assert record['sessions'][0]['commit'] == source_commit()
    assert len(record['sessions']) == 1 and list(run.folder.glob('*/*.log'))
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(squares / 'annotations/val.json'))
        evaluation = COCOeval(truth, truth.loadRes(str(files[0])), 'bbox')
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    assert record['metrics']['coco/bbox_mAP'] == pytest.approx(evaluation.stats[0], abs=5e-4)

    before = [file.stat().st_mtime_ns for file in run.folder.rglob('*')]
    train_run(run.folder)  # it is finished: nothing happens
    assert [file.stat().st_mtime_ns for file in run.folder.rglob('*') if file.name != 'run.lock'] == [
        each for each, file in zip(before, run.folder.rglob('*')) if file.name != 'run.lock'
    ]  # fmt: skip


def test_a_run_that_fails_says_why_and_can_go_on(runs, monkeypatch):
    """And by default, only the detections of the last evaluation are kept."""
    run = runs(seeds='[0]')[0]
    config = run.folder / 'config.py'
    good = config.read_text()
    cfg = Config.fromfile(config)
    cfg.train_dataloader.dataset.ann_file = 'none.json'
    cfg.dump(config)
    with pytest.raises(FileNotFoundError):
        train_run(run.folder)
    assert state_of(run.folder) == 'failed' and 'none.json' in read_record(run.folder)['error']
    config.write_text(good)
    asked: list[int] = []
    monkeypatch.setattr(torch, 'set_num_threads', asked.append)
    write_record(run.folder, dict(read_record(run.folder), threads=5))
    train_run(run.folder)
    record = read_record(run.folder)
    assert asked[0] == record['threads'] == 5  # those it began with
    assert record['status'] == 'finished' and 'error' not in record and len(record['sessions']) == 2
    assert not (run.folder / 'evaluations').exists()
    first, last = record['evaluations']
    assert (first['detections'], last['detections']) == ({}, dict(bbox='detections.bbox.json'))
    assert json.loads((run.folder / 'detections.bbox.json').read_text())
    write_record(run.folder, dict(record, status='running'))  # killed just before its end
    train_run(run.folder)
    assert config.read_text().count('RunRecordHook') == 1  # MMEngine writes it into the config, too
    again = read_record(run.folder)
    assert again['metrics'] == record['metrics']
    assert (record['first_iteration'], again['first_iteration']) == (0, 8)  # from the last checkpoint


def test_only_the_folder_of_a_run_is_trained(tmp_path):
    with pytest.raises(FileNotFoundError, match='is not the folder of a run: tools/study.py run makes them'):
        train_run(tmp_path)


def test_a_run_that_another_process_trains_is_left_alone(runs, monkeypatch):
    run = runs(seeds='[0]')[0]

    def locked(*_):
        raise OSError

    monkeypatch.setattr('mmattn.study.lock.fcntl.lockf', locked)
    with pytest.raises(Locked, match=r'the run in .* is being worked on by'):
        train_run(run.folder)


def test_a_variant_that_changes_nothing_gives_the_same_bits(runs, tmp_path):
    """A gate that is fixed at 1, and the plain detector again with the same seed."""
    block = "dict(type='tests.test_study.fixed_gate.FixedGate')"
    gate = f"dict(insert=[dict(at='backbone.**.residual', block={block})])"
    plain, fixed = runs(seeds='[3]', variants=f'dict(fixed={gate})', settings="{'train_cfg.max_epochs': 1}")
    again = type(plain)('again', 3, tmp_path / 'again')
    shutil.copytree(plain.folder, again.folder)
    for run in (plain, fixed, again):
        train_run(run.folder)
    one = weights(plain)
    for other in (weights(fixed), weights(again)):
        host = {key: value for key, value in other.items() if not key.startswith('attention.')}
        assert host.keys() == one.keys() and all(one[key].equal(host[key]) for key in one)
    results = [(run.folder / 'detections.bbox.json').read_bytes() for run in (plain, fixed, again)]
    assert results[0] == results[1] == results[2] != b'[]'
    metrics = [read_record(run.folder)['metrics'] for run in (plain, fixed, again)]
    assert metrics[0] == metrics[1] == metrics[2]
