"""Distillation by MMDetection's detector, with attention in the teacher or in the student."""

import itertools
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from mmattn.engine import build_model, load_config, train
from mmattn.engine.check_weights import require_teacher_fit
from tests.squares import CLASSES

CONFIGS = Path(__file__).parents[2] / 'configs'
ARMS = {  # student: teacher
    'ld/ld_r18-gflv1-r18-cbam_fpn_shapes.py': 'shapes/gfl_r18-cbam_fpn_shapes.py',
    'ld/ld_r18-cbam-gflv1-r18_fpn_shapes.py': 'shapes/gfl_r18_fpn_shapes.py',
    'ld/ld_r18-gflv1-r18_fpn_shapes.py': 'shapes/gfl_r18_fpn_shapes.py',
}


def options(data):
    found = {
        'model.backbone.base_channels': 8,
        'model.backbone.stem_channels': 8,
        'model.neck.in_channels': [8, 16, 32, 64],
        'model.bbox_head.num_classes': 2,
        'train_cfg.max_iters': 3,
        'train_cfg.val_interval': 3,
        'default_hooks.checkpoint.interval': 3,
        'train_dataloader.batch_size': 2,
        'train_dataloader.dataset.metainfo': dict(classes=CLASSES),
        'val_dataloader.dataset.metainfo': dict(classes=CLASSES),
        'test_dataloader.dataset.metainfo': dict(classes=CLASSES),
    }
    for part in ('train', 'val', 'test'):
        found[f'{part}_dataloader.num_workers'] = 0
        found[f'{part}_dataloader.persistent_workers'] = False
    return found


def of_the_teacher(found):
    return {
        key.replace('model.', 'model.teacher_config.model.', 1): value
        for key, value in found.items()
        if key.startswith('model.')
    }


def write(path, config, squares, **more):
    cfg = load_config(str(CONFIGS / config), str(squares), {**options(squares), **more})
    cfg.dump(path)
    return str(path)


@pytest.fixture(params=ARMS, ids=['teacher with CBAM', 'student with CBAM', 'neither'])
def arm(request, squares, tmp_path):
    """Files of a student's config and a teacher's checkpoint, whose weights are random."""
    teacher = write(tmp_path / 'teacher.py', ARMS[request.param], squares)
    torch.manual_seed(3)
    model = build_model(teacher)
    model.init_weights()
    torch.save(
        dict(state_dict=model.state_dict(), meta=dict(dataset_meta=dict(classes=CLASSES))), tmp_path / 't.pth'
    )
    more = of_the_teacher(options(squares)) | {'model.teacher_ckpt': str(tmp_path / 't.pth')}
    return write(tmp_path / 'student.py', request.param, squares, **more), tmp_path / 't.pth'


def test_a_student_learns_from_its_teacher(arm, squares, tmp_path, request):
    config, checkpoint = arm
    runner = train(config, str(tmp_path / 'run'))
    student, teacher = runner.model, runner.model.teacher_model
    having = [who for who in (teacher, student) if hasattr(who, 'attention')]
    assert (
        having
        == {'teacher': [teacher], 'student': [student], 'neither': []}[request.node.callspec.id.split()[0]]
    )
    saved = torch.load(checkpoint)['state_dict']
    for name, value in teacher.state_dict().items():  # it does not train, nor do its norms
        assert value.equal(saved[name]), name
    losses = [key for key in runner.message_hub.log_scalars if key.startswith('train/loss')]
    assert 'train/loss_ld' in losses
    assert runner.message_hub.get_scalar('train/loss_ld').current() > 0
    # What was trained is a checkpoint of the same GFL without a teacher.
    name = 'gfl_r18-cbam_fpn_shapes.py' if hasattr(student, 'attention') else 'gfl_r18_fpn_shapes.py'
    plain = build_model(write(tmp_path / 'plain.py', f'shapes/{name}', squares))
    plain.load_state_dict(torch.load(tmp_path / 'run' / 'iter_3.pth', weights_only=False)['state_dict'])


@pytest.mark.parametrize('arm', list(ARMS)[:1], indirect=True)
def test_a_teacher_of_another_width_is_refused(arm, tmp_path):
    config, checkpoint = arm
    content = torch.load(checkpoint)
    key = 'backbone.layer4.0.conv1.weight'
    content['state_dict'][key] = torch.zeros(3, *content['state_dict'][key].shape[1:])
    torch.save(content, checkpoint)
    with pytest.raises(ValueError, match=r't.pth \(model.teacher_ckpt\).*of another model than the config'):
        train(config, str(tmp_path / 'run'))


@pytest.mark.parametrize('arm', list(ARMS)[:1], indirect=True)
def test_a_teacher_without_its_head_or_its_attention_is_refused(arm, tmp_path):
    config, checkpoint = arm
    content = torch.load(checkpoint)
    whole = content['state_dict']
    for part, says in (
        ('bbox_head', r'\(model.teacher_ckpt\).*lacks bbox_head.*would stay at random'),
        ('attention', 'is not of the teacher in model.teacher_config: the checkpoint has none'),
    ):
        content['state_dict'] = {key: value for key, value in whole.items() if not key.startswith(part)}
        torch.save(content, checkpoint)
        with pytest.raises(ValueError, match=says):
            train(config, str(tmp_path / 'run'))


@pytest.mark.parametrize('arm', list(ARMS)[2:], indirect=True)
def test_a_plain_teacher_has_a_checkpoint_of_its_own(arm):
    config, checkpoint = arm
    cfg = load_config(config)
    model = torch.nn.DataParallel(build_model(config))  # a wrapper, as of several GPUs
    require_teacher_fit(model, cfg)
    content = torch.load(checkpoint)
    content['state_dict']['attention.layer.weight'] = torch.zeros(1)
    torch.save(content, checkpoint)
    with pytest.raises(ValueError, match='the checkpoint has attention, and the config has none'):
        require_teacher_fit(model, cfg)
    cfg.model.teacher_ckpt = None
    with pytest.raises(ValueError, match='a teacher without a checkpoint has random values'):
        require_teacher_fit(model, cfg)


def test_a_missing_teacher_is_named_with_what_makes_it(monkeypatch, squares, detectors):
    monkeypatch.delenv('MMATTN_TEACHER', raising=False)
    starts = {}, dict(load_from=str(detectors / 'stock.pth'))
    for (config, teacher), start in itertools.product(ARMS.items(), starts):
        with pytest.raises(FileNotFoundError, match='teacher_ckpt') as error:
            both = options(squares) | of_the_teacher(options(squares)) | start
            train(str(CONFIGS / config), cfg_options=both, data_root=str(squares))
        assert f'`python tools/train.py configs/{teacher}` makes it; MMATTN_TEACHER or --cfg' in str(
            error.value
        )
        # Tools that need no weights build it all the same.
        assert build_model(str(CONFIGS / config)).teacher_model is not None


def test_both_heads_are_the_same_but_for_the_loss():
    for config, teacher in ARMS.items():
        student, teacher = Config.fromfile(CONFIGS / config).model, Config.fromfile(CONFIGS / teacher).model
        assert student.teacher_config.model == teacher
        head = dict(student.bbox_head)
        assert head.pop('loss_ld') and head.pop('type') == 'LDHead'
        assert head == {key: value for key, value in teacher.bbox_head.items() if key != 'type'}
        assert student.backbone == teacher.backbone
