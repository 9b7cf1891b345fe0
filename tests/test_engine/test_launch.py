"""Train, then evaluate the checkpoint."""

import os
import pickle
import sys

import pytest
import torch
from mmengine.config import Config

from mmattn import engine
from mmattn.engine.launch import _keep_last_checkpoint
from mmattn.engine.mistakes import mistake_text
from tests.squares import metrics_of, small

CONFIG = 'configs/cbam/retinanet_r18-cbam_fpn_folder.py'

pytestmark = pytest.mark.usefixtures('in_project')


def train(squares, work_dir, options, **more):
    """Train on the squares; ``options`` are those of :func:`small`."""
    return engine.train(
        CONFIG, work_dir=str(work_dir), data_root=str(squares), cfg_options=small(**options), **more
    )


@pytest.fixture(scope='module')
def trained(squares, tmp_path_factory, request):
    """A checkpoint after ten epochs from scratch, the metrics of the last, and the losses."""
    work_dir = tmp_path_factory.mktemp('work')
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(request.config.rootpath)
        options = dict(
            train_cfg__max_epochs=10, train_cfg__val_interval=10, default_hooks__checkpoint__interval=10
        )
        runner = train(squares, work_dir, options)
    losses = runner.message_hub.log_scalars['train/loss'].data[0]
    return work_dir / 'epoch_10.pth', metrics_of(runner), losses


@pytest.fixture
def evaluate(trained, squares, tmp_path):
    """Evaluate the checkpoint; return the metrics, and those that the run printed."""
    checkpoint, expected, _ = trained

    def run(config=CONFIG, **more):
        if config == CONFIG:
            more.update(data_root=str(squares), cfg_options=small())
        found = engine.test(str(config), str(checkpoint), work_dir=str(tmp_path), **more)
        return {key: found[key] for key in expected}, expected

    return run


def test_training_learns(trained):
    checkpoint, metrics, losses = trained
    assert losses[-1] < losses[0] / 2
    assert metrics['coco/bbox_mAP_50'] > 0.5
    assert checkpoint.is_file()


def test_the_checkpoint_has_the_ap_that_the_run_printed(evaluate, tmp_path):
    out = tmp_path / 'predictions.pkl'
    found, expected = evaluate(out=str(out), show_dir='painted')
    assert found == expected
    predictions = pickle.loads(out.read_bytes())
    assert len(predictions) == 8
    assert {'bboxes', 'scores', 'labels'} <= predictions[0]['pred_instances'].keys()
    assert len(list(tmp_path.glob('*/painted/*.png'))) == 8


def test_the_config_that_the_run_left_works_too(trained, evaluate):
    found, expected = evaluate(trained[0].with_name(os.path.basename(CONFIG)))
    assert found == expected


def test_tta_evaluates_without_a_configured_one(evaluate):
    with (
        pytest.warns(UserWarning, match='Cannot find ``tta_model`` in config'),
        pytest.warns(UserWarning, match='Cannot find ``tta_pipeline`` in config'),
    ):
        found, expected = evaluate(tta=True)
    assert found['coco/bbox_mAP_50'] > 0.5
    # Of metrics as coarse as these, one or another may come out the same.
    assert found != expected  # the mirrored view had its say


@pytest.mark.slow
def test_a_run_is_resumed_from_a_path_or_the_latest(trained, squares, tmp_path):
    for epochs, resume in ((11, str(trained[0])), (12, 'auto')):
        options = dict(train_cfg__max_epochs=epochs, train_cfg__val_interval=100)
        runner = train(squares, tmp_path, options, resume=resume)
        assert (runner.epoch, runner.iter) == (epochs, 4 * epochs)


@pytest.mark.slow
def test_the_learning_rate_is_scaled_by_the_batch(squares, tmp_path):
    options = dict(train_dataloader__batch_size=8, train_cfg__max_epochs=1, train_cfg__val_interval=100)
    runner = train(squares, tmp_path, options, auto_scale_lr=True)
    assert runner.optim_wrapper.get_lr()['lr'] == [pytest.approx(0.001 * 8 / 4)]


class Built(Exception):
    pass


@pytest.fixture
def damaged(trained, tmp_path):
    """A work directory whose last checkpoint is cut off."""
    whole = trained[0].read_bytes()
    (tmp_path / 'epoch_9.pth').write_bytes(whole)
    (tmp_path / 'epoch_10.pth').write_bytes(whole[: len(whole) // 2])
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_10.pth'))
    return tmp_path


@pytest.mark.parametrize(
    'asked', [dict(resume='auto'), dict(options=dict(resume=True))], ids=['option', 'config']
)
def test_resume_takes_the_checkpoint_before_one_that_is_cut_off(asked, damaged, squares, monkeypatch):
    def stop(cfg):
        raise Built(cfg)

    monkeypatch.setattr(sys.modules['mmattn.engine.launch'], '_build_runner', stop)
    with pytest.raises(Built) as found:
        train(squares, damaged, **{'options': {}, **asked})
    assert found.value.args[0].load_from == str(damaged / 'epoch_9.pth')


def test_resume_of_a_file_that_is_cut_off_names_the_one_before(damaged, squares):
    wrong, right = damaged / 'epoch_10.pth', damaged / 'epoch_9.pth'
    with pytest.raises(ValueError, match=f"'{wrong}' is cut off. The one before is whole: --resume {right}"):
        train(squares, damaged, {}, resume=str(wrong))
    with pytest.raises(ValueError, match=f"resume=True: '{wrong}' is cut off"):
        train(squares, damaged, dict(resume=True, load_from=str(wrong)))


def without_attention(checkpoint):
    state = checkpoint['state_dict']
    checkpoint['state_dict'] = {key: value for key, value in state.items() if 'attention' not in key}


@pytest.mark.parametrize(
    'change, options, says',
    [
        (without_attention, {}, 'with attention that it did not have.*load_from without resume'),
        (None, {'model.insert.0.block.type': 'mmattn.SE'}, 'with other attention.*load_from without resume'),
        (
            None,
            {'optim_wrapper.optimizer.type': 'SGD'},
            'with another optimizer: the checkpoint has the state of AdamW, and the config builds SGD',
        ),
        (None, {'model.neck.num_outs': 4}, None),
    ],
    ids=['attention added', 'other attention', 'other optimizer', 'other parameters'],
)
def test_resume_of_another_run_is_refused(change, options, says, trained, squares, tmp_path):
    checkpoint = torch.load(trained[0], weights_only=False)
    if change:
        change(checkpoint)
    torch.save(checkpoint, tmp_path / 'changed.pth')
    says = says or r'with other parameters: .*The model lacks 2 weights \(neck.fpn_convs.4.conv'
    with pytest.raises(ValueError, match=f'(?s)a run cannot be resumed {says}') as error:
        train(squares, tmp_path, options, resume=str(tmp_path / 'changed.pth'))
    assert mistake_text(error.value) == str(error.value)


def test_resume_in_a_config_without_a_checkpoint_is_a_start(squares, tmp_path, monkeypatch):
    def stop(cfg):
        raise Built(cfg)

    monkeypatch.setattr(sys.modules['mmattn.engine.launch'], '_build_runner', stop)
    with pytest.raises(Built) as found:
        train(squares, tmp_path, dict(resume=True))
    assert not found.value.args[0].resume


@pytest.mark.parametrize('saved', [False, True])
def test_resume_of_a_first_run_keeps_load_from(saved, squares, trained, tmp_path, monkeypatch):
    def stop(cfg):
        raise Built(cfg)

    monkeypatch.setattr(sys.modules['mmattn.engine.launch'], '_build_runner', stop)
    start = str(trained[0])
    if saved:
        (tmp_path / 'last_checkpoint').write_text(start)
    with pytest.raises(Built) as found:
        train(squares, tmp_path, dict(load_from=start), resume='auto')
    cfg = found.value.args[0]
    assert (bool(cfg.get('resume')), cfg.load_from) == (saved, start)


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


def test_a_config_without_hooks_has_the_checkpoint_hook():
    cfg = Config(dict(default_hooks=None))
    _keep_last_checkpoint(cfg)
    assert cfg.default_hooks.checkpoint.type == 'mmattn.CheckpointHook'
