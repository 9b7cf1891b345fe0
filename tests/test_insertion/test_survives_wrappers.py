"""Models around an attended model: averages, teachers, test-time augmentation, DDP."""

import copy

import numpy as np
import pytest
import torch
from mmdet.engine.hooks import MeanTeacherHook
from mmdet.structures import DetDataSample
from mmengine.config import Config, ConfigDict
from mmengine.hub import get_config
from mmengine.model import ExponentialMovingAverage, MMDistributedDataParallel
from mmengine.runner import load_checkpoint
from mmengine.runner.checkpoint import save_checkpoint
from mmengine.structures import InstanceData

from mmattn import attach
from tests.test_blocks.helpers import randomise
from tests.test_engine.test_distributed_step import assert_same, backward, in_processes
from tests.test_engine.test_distributed_step import detector as seeded_detector
from tests.test_insertion.models import build, features, model_cfg, narrow
from tests.test_insertion.test_survives import cbams, detector, gradients, rules

SIZE = (64, 96)


def images(n=2, seed=0):
    return torch.randn(n, 3, *SIZE, generator=torch.Generator().manual_seed(seed))


def samples(n=2):
    found = []
    for i in range(n):
        sample = DetDataSample(
            metainfo=dict(
                img_shape=SIZE,
                ori_shape=SIZE,
                batch_input_shape=SIZE,
                pad_shape=SIZE,
                img_id=i,
                scale_factor=(1.0, 1.0),
                homography_matrix=np.eye(3, dtype=np.float32),
            )
        )
        sample.gt_instances = InstanceData(
            bboxes=torch.tensor([[8.0, 8.0, 40.0, 40.0], [30.0, 10.0, 90.0, 60.0]]),
            labels=torch.tensor([i, 3]),
        )
        sample.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0).long())
        found.append(sample)
    return found


def losses(model, inputs, data_samples, seed=0):
    """Each loss by name; the samplers draw from the same random state."""
    torch.manual_seed(seed)
    found = model(inputs, copy.deepcopy(data_samples), mode='loss')
    return {name: sum(value) if isinstance(value, list) else value for name, value in found.items()}


def assert_losses_equal(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.isfinite(value).all() and found[name].equal(value), name


def same_weights(model, stock):
    """The stock model's weights for an attended one, whose attention keeps its own."""
    found = model.load_state_dict(stock.state_dict(), strict=False)
    assert not found.unexpected_keys and all('attention.' in key for key in found.missing_keys)
    return model


# --- exponential moving averages


def test_ema_averages_attention_and_uses_its_own():
    model = detector(insert=rules('paper')).eval()
    randomise(model.attention)
    first = copy.deepcopy(model.state_dict())
    ema = ExponentialMovingAverage(model, momentum=0.25)
    ema.update_parameters(model)
    randomise(model.attention, seed=5)
    ema.update_parameters(model)
    for name, p in ema.module.attention.named_parameters():
        name = f'attention.{name}'
        expected = 0.75 * first[name] + 0.25 * model.state_dict()[name]
        torch.testing.assert_close(p.detach(), expected, msg=name)
        assert not p.equal(first[name]) or expected.equal(first[name]), name
    # The average answers as a model does that has these weights, not as the one it was copied from.
    other = detector(insert=rules('paper'), norm_eval=True).eval()
    other.load_state_dict(ema.module.state_dict())
    with torch.no_grad():
        for a, b, c in zip(features(ema.module), features(other), features(model)):
            assert a.equal(b) and not a.equal(c)


# --- semi-supervised: a student, and its teacher


def soft_teacher(insert=None):
    """mmdet's, of small detectors, with thresholds that let untrained ones teach."""
    cfg = get_config('mmdet::soft_teacher/soft-teacher_faster-rcnn_r50-caffe_fpn_180k_semi-0.1-coco.py').model
    cfg.detector = narrow(model_cfg('FasterRCNN', insert=insert))
    cfg.detector.test_cfg.rcnn.update(score_thr=0.0, max_per_img=4)
    cfg.semi_train_cfg.update(
        pseudo_label_initial_score_thr=0.0, rpn_pseudo_thr=0.0, cls_pseudo_thr=0.0, reg_pseudo_thr=1e9
    )
    return build(cfg).train()


def branches():
    names = ('sup', 'unsup_teacher', 'unsup_student')
    return ({name: images(1, seed=i) for i, name in enumerate(names)}, {name: samples(1) for name in names})


def test_soft_teacher_of_identities_is_the_stock_one():
    stock, model = soft_teacher(), soft_teacher(rules('identity'))
    same_weights(model, stock)
    found, expected = losses(model, *branches()), losses(stock, *branches())
    assert any(name.startswith('unsup_') and value > 0 for name, value in expected.items())
    assert_losses_equal(found, expected)


def test_soft_teacher_trains_the_students_attention_and_averages_it_into_the_teachers():
    model = soft_teacher(rules('paper'))
    hook = MeanTeacherHook(momentum=0.25)
    hook.momentum_update(model, 1)  # as before the first iteration
    first = copy.deepcopy(model.teacher.state_dict())
    assert all(first[name].equal(p) for name, p in model.student.named_parameters())
    optimizer = torch.optim.SGD(model.student.parameters(), lr=0.01)
    sum(losses(model, *branches()).values()).backward()
    blocks = model.student.attention
    assert all(torch.isfinite(p.grad).all() for p in blocks.parameters())
    assert all(block.ChannelGate.mlp[3].bias.grad.any() for block in cbams(model.student).values())
    assert all(p.grad is None for p in model.teacher.parameters())
    optimizer.step()
    hook.momentum_update(model, 0.25)
    for name, p in model.student.named_parameters():
        if name.startswith('attention.'):
            teachers = model.teacher.get_parameter(name)
            torch.testing.assert_close(teachers, 0.75 * first[name] + 0.25 * p.detach(), msg=name)
    bias = 'attention.backbone_layer4_1_residual.ChannelGate.mlp.3.bias'
    assert not model.teacher.get_parameter(bias).equal(first[bias])
    # The teacher looks through its own attention: what depends on its boxes changes with it.
    before = losses(model, *branches())
    randomise(model.teacher.attention)
    after = losses(model, *branches())
    assert all(value.equal(after[name]) for name, value in before.items() if name.startswith('sup_'))
    assert any(not value.equal(after[name]) for name, value in before.items() if name.startswith('unsup_'))


def test_the_three_lines_of_the_docs(tmp_path, request):
    page = (request.config.rootpath / 'docs' / 'insertion.md').read_text(encoding='utf-8')
    lines = page.partition('## Detectors in detectors')[2].partition('```python\n')[2].partition('```')[0]
    (tmp_path / 'mine.py').write_text(lines)
    cfg = Config.fromfile(str(tmp_path / 'mine.py')).model
    assert cfg.type == 'SoftTeacher' and cfg.semi_train_cfg.freeze_teacher
    cfg.detector.backbone.init_cfg = None
    narrow(cfg.detector)
    model = build(cfg)
    assert list(model.student.attention) == list(model.teacher.attention)
    assert len(model.student.attention) == 13


def test_attention_beside_student_and_teacher_is_refused():
    with pytest.raises(
        ValueError,
        match='SoftTeacher averages its student into its teacher, but no parameters '
        'beside them: insert attention into the detector that both are built from, '
        r"detector=dict\(type='mmattn.WithAttention'",
    ):
        attach(soft_teacher(), dict(at='student.backbone.**.residual', block=dict(type='mmattn.SE')))


def test_soft_teacher_starts_both_from_a_detector_with_attention(tmp_path):
    path = str(tmp_path / 'detector.pth')
    source = build(narrow(model_cfg('FasterRCNN', insert=rules('paper'))), seed=3)
    randomise(source.attention)
    save_checkpoint(dict(state_dict=source.state_dict()), path)
    model = soft_teacher(rules('paper'))
    load_checkpoint(model, path, strict=True)
    source.eval(), model.eval()
    for part in (model.student, model.teacher):
        assert all(a.equal(b) for a, b in zip(part.extract_feat(images()), source.extract_feat(images())))


# --- distillation: a teacher that is no submodule


def distillation(teacher=None, student=None):
    cfg = get_config('mmdet::ld/ld_r18-gflv1-r101_fpn_1x_coco.py').model
    cfg.teacher_config = dict(model=get_config('mmdet::gfl/gfl_r50_fpn_1x_coco.py').model)
    cfg.teacher_ckpt = None
    teachers = cfg.teacher_config.model
    teachers.backbone.depth = 18
    teachers.neck.in_channels = [64, 128, 256, 512]
    for each, detector_type, insert in ((teachers, 'GFL', teacher), (cfg, cfg.type, student)):
        narrow(each).backbone.update(init_cfg=None, zero_init_residual=False)
        if insert:
            each.update(type='mmattn.WithAttention', detector=detector_type, insert=insert)
    model = build(cfg)
    model.train()  # the stock one returns None
    return model


def test_distillation_between_identities_is_the_stock_one():
    stock, model = distillation(), distillation(rules('identity'), rules('identity'))
    same_weights(model, stock)
    same_weights(model.teacher_model, stock.teacher_model)
    found, expected = losses(model, images(), samples()), losses(stock, images(), samples())
    assert expected['loss_ld'] > 0
    assert_losses_equal(found, expected)


def test_distillation_trains_the_students_attention_from_the_teachers():
    model = distillation(rules('paper'), rules('paper'))
    assert not any('teacher' in name for name in model.state_dict())
    before = losses(model, images(), samples())
    before['loss_ld'].backward()  # the loss that the teacher takes part in, on levels with objects
    assert all(
        block.ChannelGate.mlp[3].bias.grad.any()
        for key, block in cbams(model).items()
        if key.startswith('backbone')
    )
    assert all(p.grad is None for p in model.teacher_model.parameters())
    assert not model.teacher_model.attention.training and model.attention.training
    model.eval(), model.train()  # so that statistics are the same below
    randomise(model.teacher_model.attention)
    after = losses(model, images(), samples())
    assert not after['loss_ld'].equal(before['loss_ld'])
    # A copy of the whole has both attentions.
    other = copy.deepcopy(model)
    randomise(model.teacher_model.attention, seed=5), randomise(model.attention, seed=5)
    model.eval(), other.eval()
    x = images()
    assert not other.extract_feat(x)[0].equal(model.extract_feat(x)[0])
    assert not other.teacher_model.extract_feat(x)[0].equal(model.teacher_model.extract_feat(x)[0])


# --- test-time augmentation


def augmented(insert=None):
    module = narrow(model_cfg('RetinaNet', insert=insert))
    module.test_cfg.score_thr = 0.0
    tta = build(
        ConfigDict(
            type='DetTTAModel',
            module=module,
            tta_cfg=dict(nms=dict(type='nms', iou_threshold=0.5), max_per_img=20),
        )
    )
    tta.eval()
    return tta


def views():
    image = torch.randint(0, 256, (3, *SIZE), generator=torch.Generator().manual_seed(0)).byte()
    data = dict(inputs=[], data_samples=[])
    for flip in (False, True):
        sample = DetDataSample(
            metainfo=dict(
                img_shape=SIZE,
                ori_shape=SIZE,
                scale_factor=(1.0, 1.0),
                img_id=0,
                flip=flip,
                flip_direction='horizontal' if flip else None,
            )
        )
        data['inputs'].append([image.flip(-1) if flip else image])
        data['data_samples'].append([sample])
    return data


def boxes(results):
    found = results[0].pred_instances
    assert len(found) > 1
    return torch.cat([found.bboxes, found.scores[:, None], found.labels[:, None]], 1)


def test_tta_of_an_identity_is_the_stock_one():
    stock, tta = augmented(), augmented(rules('identity'))
    same_weights(tta, stock)
    with torch.no_grad():
        assert boxes(tta.test_step(views())).equal(boxes(stock.test_step(views())))


def test_tta_merges_what_the_model_with_attention_finds_in_each_view():
    tta = augmented(rules('paper'))
    with torch.no_grad():
        untrained = boxes(tta.test_step(views()))
        randomise(tta.module.attention)
        found = boxes(tta.test_step(views()))
        each = [tta.module.test_step({key: value[i] for key, value in views().items()}) for i in range(2)]
        assert found.equal(boxes(tta.merge_preds(list(zip(*each)))))
    assert found.shape != untrained.shape or not found.equal(untrained)


# --- DDP


def test_ddp_finds_every_parameter_used(tmp_path):
    """One process: DDP complains of unused parameters there too, in the second pass."""
    model = detector(insert=rules('paper'), norm_eval=False).double().train()
    randomise(model.attention)
    plain = copy.deepcopy(model)
    torch.distributed.init_process_group('gloo', init_method=f'file://{tmp_path}/store', rank=0, world_size=1)
    try:
        wrapped = MMDistributedDataParallel(model, find_unused_parameters=False)
        x = images().double()

        def forward(model):
            return sum(model(x, mode='tensor'), start=[])  # scores and boxes of all levels

        for step in range(2):
            expected = gradients(plain, forward)
            assert all(p.grad.any() for p in plain.attention.parameters())
            model.zero_grad()
            sum(f.square().mean() for f in forward(wrapped)).backward()
            for name, p in model.named_parameters():
                if p.requires_grad:
                    torch.testing.assert_close(p.grad, expected[name], msg=name)
            randomise(model.attention, step + 7), randomise(plain.attention, step + 7)
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_ddp_in_two_processes_trains_at_every_position(tmp_path):
    cfg = get_config('mmdet::retinanet/retinanet_r18_fpn_1x_coco.py')
    cfg.model = narrow(model_cfg('RetinaNet', insert=rules('paper')))
    path = str(tmp_path / 'config.py')
    cfg.dump(path)
    first, second = in_processes(2, path, tmp_path)
    assert all(first[name].equal(second[name]) for name in first)
    model = seeded_detector(path)
    # MMDetection's addition to the divisor of losses differs between halves and the whole.
    assert_same(first, backward(model, model, range(4), seed=0), model, tolerance=1e-8)
