"""Train, then evaluate the checkpoint: what ``tools/train.py`` and ``tools/test.py`` do."""

import os
import pickle
import subprocess
import sys

import pytest

from mmattn import engine

from .squares import as_arguments, small, write_squares

CONFIG = 'configs/cbam/retinanet_r18-cbam_fpn_folder.py'


@pytest.fixture(autouse=True)
def _in_project(monkeypatch, request):
    monkeypatch.chdir(request.config.rootpath)
    monkeypatch.delenv('MMATTN_DATA_ROOT', raising=False)


@pytest.fixture(scope='module')
def squares(tmp_path_factory):
    return write_squares(tmp_path_factory.mktemp('data') / 'squares')


@pytest.fixture(scope='module')
def trained(squares, tmp_path_factory, request):
    """A work directory after ten epochs from scratch, and the metrics of the last."""
    work_dir = tmp_path_factory.mktemp('work')
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(request.config.rootpath)
        runner = engine.train(
            CONFIG,
            work_dir=str(work_dir),
            data_root=str(squares),
            cfg_options=small(
                train_cfg__max_epochs=10, train_cfg__val_interval=10, default_hooks__checkpoint__interval=10
            ),
        )
    scalars = runner.message_hub.log_scalars
    return (
        work_dir,
        {key.removeprefix('val/'): scalars[key].current() for key in scalars if 'bbox_mAP' in key},
        scalars['train/loss'].data[0],
    )


def test_training_learns(trained):
    work_dir, metrics, losses = trained
    assert losses[-1] < losses[0] / 2
    assert metrics['coco/bbox_mAP_50'] > 0.5
    assert (work_dir / 'epoch_10.pth').is_file()


def test_the_checkpoint_has_the_ap_that_the_run_printed(trained, squares, tmp_path):
    work_dir, expected, _ = trained
    out = tmp_path / 'predictions.pkl'
    found = engine.test(
        CONFIG,
        str(work_dir / 'epoch_10.pth'),
        work_dir=str(tmp_path),
        data_root=str(squares),
        cfg_options=small(),
        out=str(out),
        show_dir='painted',
    )
    assert {key: found[key] for key in expected} == expected
    predictions = pickle.loads(out.read_bytes())
    assert len(predictions) == 8
    assert {'bboxes', 'scores', 'labels'} <= predictions[0]['pred_instances'].keys()
    assert len(list(tmp_path.glob('*/painted/*.png'))) == 8


def test_the_config_that_the_run_left_works_too(trained, squares, tmp_path):
    work_dir, expected, _ = trained
    left = work_dir / os.path.basename(CONFIG)
    found = engine.test(str(left), str(work_dir / 'epoch_10.pth'), work_dir=str(tmp_path))
    assert {key: found[key] for key in expected} == expected


def test_tta(trained, squares, tmp_path):
    work_dir, expected, _ = trained
    with (
        pytest.warns(UserWarning, match='Cannot find ``tta_model`` in config'),
        pytest.warns(UserWarning, match='Cannot find ``tta_pipeline`` in config'),
    ):
        found = engine.test(
            CONFIG,
            str(work_dir / 'epoch_10.pth'),
            work_dir=str(tmp_path),
            data_root=str(squares),
            cfg_options=small(),
            tta=True,
        )
    assert found['coco/bbox_mAP_50'] > 0.5
    # Of figures as coarse as these, one or another may come out the same.
    assert {key: found[key] for key in expected} != expected  # the mirrored view had its say


@pytest.mark.slow
def test_resume(trained, squares, tmp_path):
    work_dir = trained[0]
    runner = engine.train(
        CONFIG,
        work_dir=str(tmp_path),
        data_root=str(squares),
        resume=str(work_dir / 'epoch_10.pth'),
        cfg_options=small(train_cfg__max_epochs=11, train_cfg__val_interval=100),
    )
    assert (runner.epoch, runner.iter) == (11, 44)
    runner = engine.train(
        CONFIG,
        work_dir=str(tmp_path),
        data_root=str(squares),
        resume='auto',
        cfg_options=small(train_cfg__max_epochs=12, train_cfg__val_interval=100),
    )
    assert (runner.epoch, runner.iter) == (12, 48)


@pytest.mark.slow
def test_auto_scale_lr(squares, tmp_path):
    runner = engine.train(
        CONFIG,
        work_dir=str(tmp_path),
        data_root=str(squares),
        auto_scale_lr=True,
        cfg_options=small(
            train_dataloader__batch_size=8, train_cfg__max_epochs=1, train_cfg__val_interval=100
        ),
    )
    assert runner.optim_wrapper.get_lr()['lr'] == [pytest.approx(0.001 * 8 / 4)]


class Built(Exception):
    pass


@pytest.mark.parametrize('saved', [False, True])
def test_resume_of_a_first_run_keeps_load_from(saved, squares, trained, tmp_path, monkeypatch):
    def stop(cfg):
        raise Built(cfg)

    monkeypatch.setattr(sys.modules['mmattn.engine.launch'], '_build_runner', stop)
    start = str(trained[0] / 'epoch_10.pth')
    if saved:
        (tmp_path / 'last_checkpoint').write_text(start)
    with pytest.raises(Built) as found:
        engine.train(
            CONFIG,
            work_dir=str(tmp_path),
            data_root=str(squares),
            resume='auto',
            cfg_options=small(load_from=start),
        )
    cfg = found.value.args[0]
    assert (bool(cfg.get('resume')), cfg.load_from) == ((True, None) if saved else (False, start))


# What is wrong with the request is said before anything is built.


def test_amp_needs_a_gpu(squares, monkeypatch):
    monkeypatch.setattr(sys.modules['mmattn.engine.launch'], 'get_device', lambda: 'cpu')
    with pytest.raises(ValueError, match='--amp was asked for, but this machine has no GPU'):
        engine.train(CONFIG, data_root=str(squares), amp=True)


@pytest.mark.parametrize(
    'wrong, error, says',
    [
        (
            dict(cfg_options={'model.insert.0.block.type': 'mmattn.CBMA'}),
            KeyError,
            "'mmattn.CBMA' is not registered; did you mean 'mmattn.CBAM'",
        ),
        (
            dict(cfg_options={'model.insert.0.block.reductoin': 8}),
            TypeError,
            "CBAM has no option 'reductoin'; did you mean 'reduction'",
        ),
        (dict(cfg_options={'model.insert.0.at': 'backbone.layer5.*'}), ValueError, 'backbone.layer5'),
        (
            dict(data_root='no/such/folder'),
            FileNotFoundError,
            "no annotation file 'no/such/folder/annotations/train.json', from which the classes are read",
        ),
        (dict(resume='gone.pth'), FileNotFoundError, r"no checkpoint file 'gone.pth' \(--resume\)"),
        (dict(launcher='slurm'), RuntimeError, '--launcher slurm was asked for, but SLURM_PROCID'),
        (
            dict(cfg_options={'auto_scale_lr': None}, auto_scale_lr=True),
            ValueError,
            '--auto-scale-lr was asked for',
        ),
    ],
)
def test_wrong_requests(wrong, error, says, squares, tmp_path, monkeypatch):
    monkeypatch.delenv('SLURM_PROCID', raising=False)
    arguments = (
        dict(work_dir=str(tmp_path), data_root=str(squares), **wrong)
        if 'data_root' not in wrong
        else dict(work_dir=str(tmp_path), **wrong)
    )
    if 'cfg_options' in wrong:
        arguments['cfg_options'] = {**small(), **wrong['cfg_options']}
    with pytest.raises(error, match=says):
        engine.train(CONFIG, **arguments)


def test_wrong_test_requests(squares):
    with pytest.raises(FileNotFoundError, match=r"no checkpoint file 'x.pth' \(the checkpoint\)"):
        engine.test(CONFIG, 'x.pth', data_root=str(squares))
    with pytest.raises(ValueError, match="--out was 'x.json': predictions are written as .pkl"):
        engine.test(CONFIG, 'x.pth', out='x.json')


def test_annotations_of_another_data_set(squares, tmp_path):
    """A COCO config on the squares: found before the model is built."""
    with pytest.raises(FileNotFoundError, match='instances_train2017.json'):
        engine.train('configs/cbam/retinanet_r18-cbam_fpn_1x_coco.py', data_root=str(squares))
    with pytest.raises(ValueError, match='is of another data set: 80 of the 80 classes'):
        engine.train(
            'configs/cbam/retinanet_r18-cbam_fpn_1x_coco.py',
            data_root=str(squares),
            cfg_options={'train_dataloader.dataset.ann_file': 'annotations/train.json'},
        )


def run(tool, *arguments, **environment):
    project = os.getcwd()
    return subprocess.run(
        [sys.executable, f'{project}/tools/{tool}', *map(str, arguments)],
        text=True,
        capture_output=True,
        timeout=300,
        env={**os.environ, 'PYTHONPATH': project, 'OMP_NUM_THREADS': '1', **environment},
    )


def test_a_wrong_rule_is_a_message_alone(squares, tmp_path):
    done = run(
        'train.py',
        CONFIG,
        '--work-dir',
        tmp_path,
        '--data-root',
        squares,
        *as_arguments(small(model__insert__0__at='backbone.layer5.*')),
    )
    assert done.returncode == 2 and 'Traceback' not in done.stderr
    assert 'backbone.layer5' in done.stderr.strip().splitlines()[-1]


@pytest.mark.slow
@pytest.mark.parametrize('workers', [0, 2])
def test_a_corrupt_image_is_named(squares, tmp_path, workers):
    import shutil

    data = tmp_path / 'data'
    shutil.copytree(squares, data)
    (data / 'images' / 'train_3.png').write_bytes(b'nothing to see')
    done = run(
        'train.py',
        CONFIG,
        '--work-dir',
        tmp_path,
        '--data-root',
        data,
        *as_arguments(small(train_dataloader__num_workers=workers, train_cfg__max_epochs=1)),
    )
    assert done.returncode == 1
    assert 'OSError: corrupt image' in done.stderr.strip().splitlines()[-1]
    assert 'images/train_3.png' in done.stderr.strip().splitlines()[-1]


@pytest.mark.slow
def test_tools_have_the_flags_of_mmdetection(squares, tmp_path):
    done = run(
        'train.py',
        CONFIG,
        '--work-dir',
        tmp_path,
        '--data-root',
        f'{squares}/',
        *as_arguments(small(train_cfg__max_epochs=1)),
    )
    assert done.returncode == 0, done.stderr
    done = run(
        'test.py',
        CONFIG,
        tmp_path / 'epoch_1.pth',
        '--work-dir',
        tmp_path,
        '--tta',
        '--out',
        tmp_path / 'out.pkl',
        *as_arguments(small()),
        MMATTN_DATA_ROOT=str(squares),
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / 'out.pkl').is_file()
