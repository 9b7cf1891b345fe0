"""A run of MMEngine's Runner and what follows it: resuming, inference, configs written and read."""

import copy
import json

import cv2
import pytest
import torch
from mmdet.apis import DetInferencer, inference_detector, init_detector
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.hub import get_config
from mmengine.registry import DefaultScope
from mmengine.runner import Runner

from tests.squares import CLASSES, write_squares
from tests.test_insertion.models import build, features, model_cfg, narrow
from tests.test_insertion.test_survives import rules

MOMENTUM = 0.25


@pytest.fixture(scope='module', autouse=True)
def _scope():
    with DefaultScope.overwrite_default_scope('mmdet'):
        yield


@pytest.fixture(scope='module')
def squares(tmp_path_factory):
    return write_squares(tmp_path_factory.mktemp('data') / 'squares', train=8, val=2)


def run_cfg(squares, work_dir, start='paper', iterations=4, **options):
    """mmdet's RetinaNet config: narrow, on a few small images, AdamW, an average, all deterministic."""
    cfg = get_config('mmdet::retinanet/retinanet_r18_fpn_1x_coco.py')
    cfg.model = narrow(model_cfg('RetinaNet', insert=rules(start)))
    cfg.model.bbox_head.num_classes = len(CLASSES)
    cfg.model.test_cfg.score_thr = 0.0
    loading = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True)]
    resize = dict(type='Resize', scale=(96, 96), keep_ratio=True)
    dataset = dict(
        type='CocoDataset',
        data_root=str(squares),
        metainfo=dict(classes=CLASSES),
        data_prefix=dict(img='images/'),
    )
    loader = dict(batch_size=2, num_workers=0, persistent_workers=False)
    cfg.train_dataloader = dict(
        **loader,
        sampler=dict(type='InfiniteSampler', shuffle=True),
        dataset=dict(
            dataset,
            ann_file='annotations/train.json',
            pipeline=[*loading, resize, dict(type='PackDetInputs')],
        ),
    )
    cfg.test_dataloader = dict(
        **loader,
        sampler=dict(type='DefaultSampler', shuffle=False),
        dataset=dict(
            dataset,
            ann_file='annotations/val.json',
            test_mode=True,
            pipeline=[loading[0], resize, loading[1], dict(type='PackDetInputs')],
        ),
    )
    cfg.test_evaluator.ann_file = str(squares / 'annotations/val.json')
    for key in ('val_dataloader', 'val_evaluator', 'val_cfg'):
        cfg[key] = None
    cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=iterations)
    cfg.optim_wrapper = dict(
        optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.01),
        paramwise_cfg=dict(custom_keys={'attention': dict(lr_mult=4.0)}),
    )
    cfg.param_scheduler = [dict(type='LinearLR', start_factor=0.5, by_epoch=False, begin=0, end=4)]
    cfg.auto_scale_lr = dict(enable=False, base_batch_size=16)
    cfg.default_hooks.checkpoint = dict(type='CheckpointHook', interval=2, by_epoch=False)
    cfg.default_hooks.logger.interval = 1
    cfg.custom_hooks = [dict(type='EMAHook', ema_type='ExponentialMovingAverage', momentum=MOMENTUM)]
    cfg.log_processor.by_epoch = False
    cfg.randomness = dict(seed=0, deterministic=True)
    cfg.work_dir = str(work_dir)
    cfg.experiment_name = work_dir.name
    cfg.update(options)
    return cfg


class Record(Hook):
    """Attention's parameters after each iteration."""

    priority = 'VERY_HIGH'

    def __init__(self):
        self.seen = []

    def after_train_iter(self, runner, *args, **kwargs):
        self.seen.append(
            {f'attention.{name}': p.detach().clone() for name, p in runner.model.attention.named_parameters()}
        )


def train(cfg, record=None):
    deterministic = torch.are_deterministic_algorithms_enabled()
    runner = Runner.from_cfg(copy.deepcopy(cfg))
    if record:
        runner.register_hook(record)
    try:
        runner.train()
    finally:
        torch.use_deterministic_algorithms(deterministic)
    return runner


@pytest.fixture(scope='module')
def uninterrupted(squares, tmp_path_factory):
    """The config, the folder of checkpoints, and attention after each iteration."""
    folder = tmp_path_factory.mktemp('uninterrupted')
    cfg = run_cfg(squares, folder)
    record = Record()
    train(cfg, record)
    cfg.dump(str(folder / 'config.py'))
    return cfg, folder, record.seen


def load(path):
    return torch.load(path, weights_only=False)


def assert_same(found, expected, name=''):
    assert type(found) is type(expected), name
    if isinstance(expected, torch.Tensor):
        assert found.equal(expected), name
    elif isinstance(expected, dict):
        assert found.keys() == expected.keys(), name
        for key in expected:
            assert_same(found[key], expected[key], f'{name}.{key}')
    elif isinstance(expected, (list, tuple)):
        assert len(found) == len(expected), name
        for i, each in enumerate(expected):
            assert_same(found[i], each, f'{name}.{i}')
    else:
        assert found == expected, name


def test_a_resumed_run_takes_the_steps_of_the_uninterrupted_one(uninterrupted, squares, tmp_path):
    cfg, folder, seen = uninterrupted
    again = run_cfg(squares, tmp_path, load_from=str(folder / 'iter_2.pth'), resume=True)
    record = Record()
    train(again, record)
    assert len(record.seen) == 2
    assert_same(record.seen, seen[2:])
    found, expected = load(tmp_path / 'iter_4.pth'), load(folder / 'iter_4.pth')
    for part in ('state_dict', 'ema_state_dict', 'optimizer', 'param_schedulers'):
        assert_same(found[part], expected[part], part)
    # There was something to resume: moments of attention, at its own rate.
    model = build(cfg.model)
    order = [name for name, p in model.named_parameters() if p.requires_grad]
    state, groups = expected['optimizer']['state'], expected['optimizer']['param_groups']
    for i, name in enumerate(order):
        assert groups[i]['initial_lr'] == (4e-3 if name.startswith('attention.') else 1e-3)
        if name.startswith('attention.') and name.endswith('mlp.3.bias'):
            assert state[i]['step'] == 4 and state[i]['exp_avg'].any()


def test_the_ema_hook_averages_attention_and_saves_it(uninterrupted):
    _, folder, seen = uninterrupted
    checkpoint = load(folder / 'iter_4.pth')
    average = seen[0]
    for after in seen[1:]:
        average = {name: (1 - MOMENTUM) * value + MOMENTUM * after[name] for name, value in average.items()}
    for name, value in average.items():
        torch.testing.assert_close(checkpoint['state_dict'][name], value, msg=name)
        # MMEngine saves the average where weights are looked for, and the weights with the average.
        assert checkpoint['ema_state_dict'][f'module.{name}'].equal(seen[-1][name]), name


def test_the_runners_activation_checkpointing(uninterrupted, squares, tmp_path):
    _, _, seen = uninterrupted
    record = Record()
    modules = ['backbone.layer2', 'backbone.layer4.1', 'neck.fpn_convs.0']
    train(run_cfg(squares, tmp_path, iterations=1, activation_checkpointing=modules), record)
    for name, value in record.seen[0].items():
        torch.testing.assert_close(value, seen[0][name], rtol=1e-4, atol=1e-5, msg=name)


@pytest.fixture(params=['drawn', 'real'])
def image(request, squares):
    if request.param == 'drawn':
        return str(squares / 'images' / 'val_0.png')
    folder = request.getfixturevalue('test_data') / 'coco_real' / 'images'
    return str(sorted(folder.glob('*.jpg'))[0])


def test_init_detector_and_the_inferencer(uninterrupted, image):
    """Against the model by hand: pixels resized, normalised and padded as the pipeline says."""
    cfg, folder, _ = uninterrupted
    config, checkpoint = str(folder / 'config.py'), str(folder / 'iter_4.pth')
    model = init_detector(config, checkpoint, device='cpu')
    weights = load(checkpoint)['state_dict']
    assert_same(dict(model.state_dict()), dict(weights))
    assert model.dataset_meta['classes'] == CLASSES
    found = inference_detector(model, image).pred_instances
    assert len(found) > 10

    plain = build(cfg.model, seed=9).eval()
    plain.load_state_dict(weights)
    pixels = cv2.imread(image)
    height, width = pixels.shape[:2]
    scale = 96 / max(height, width)
    size = int(width * scale + 0.5), int(height * scale + 0.5)
    pixels = cv2.resize(pixels, size) if scale != 1 else pixels
    pixels = torch.from_numpy(pixels).permute(2, 0, 1).float().flip(0)
    mean, std = torch.tensor([123.675, 116.28, 103.53]), torch.tensor([58.395, 57.12, 57.375])
    padded = torch.zeros(1, 3, *(-(-side // 32) * 32 for side in pixels.shape[1:]))
    padded[0, :, : size[1], : size[0]] = (pixels - mean[:, None, None]) / std[:, None, None]
    meta = [
        dict(
            img_shape=size[::-1], ori_shape=(height, width), scale_factor=(size[0] / width, size[1] / height)
        )
    ]
    with torch.no_grad():
        expected = plain.bbox_head.predict_by_feat(
            *plain.bbox_head(plain.extract_feat(padded)), batch_img_metas=meta, rescale=True
        )[0]
    assert found.labels.equal(expected.labels)
    torch.testing.assert_close(found.scores, expected.scores)
    torch.testing.assert_close(found.bboxes, expected.bboxes, rtol=1e-4, atol=1e-3)

    inferencer = DetInferencer(config, checkpoint, device='cpu', show_progress=False)
    result = inferencer(image, pred_score_thr=0.0)['predictions'][0]
    assert result['labels'] == found.labels.tolist() and result['scores'] == found.scores.tolist()
    assert result['bboxes'] == found.bboxes.tolist()


@pytest.mark.parametrize('suffix', ['py', 'json', 'yml'])
def test_a_config_written_and_read_again(suffix, squares, tmp_path):
    """With all that a rule may say."""
    cfg = run_cfg(squares, tmp_path)
    cfg.model.freeze_detector = True
    cfg.model.insert = [
        dict(
            at=['backbone.layer[1-2].*.residual', 'neck.output'],
            except_='neck.output.[34]',
            block=dict(type='mmattn.CBAM', kernel_size=3, start='identity'),
        ),
        dict(
            at='**.residual',
            except_=['backbone.layer[34].**', 'backbone.layer2.1.residual'],
            block=dict(type='mmattn.SE', reduction=4),
            order=1,
            freeze_with_host=True,
        ),
    ]
    path = tmp_path / f'config.{suffix}'
    cfg.dump(str(path))
    again = Config.fromfile(str(path))
    assert again.model.insert == cfg.model.insert
    if suffix == 'json':
        assert json.loads(path.read_text())['model']['insert'][1]['freeze_with_host'] is True
    first, second = build(cfg.model).eval(), build(again.model).eval()
    assert_same(dict(second.state_dict()), dict(first.state_dict()))
    assert len(first.attention) == 4 + 3 and list(second.attention) == list(first.attention)
    trained = [{name for name, p in model.named_parameters() if p.requires_grad} for model in (first, second)]
    assert trained[0] == trained[1] and all(name.startswith('attention.') for name in trained[0])
    with torch.no_grad():
        assert all(a.equal(b) for a, b in zip(features(first), features(second)))


def test_a_config_with_a_base_written_and_read_again(tmp_path):
    """The three lines of the README, flattened by dump()."""
    (tmp_path / 'mine.py').write_text(
        "_base_ = 'mmdet::retinanet/retinanet_r18_fpn_1x_coco.py'\n"
        "model = dict(type='mmattn.WithAttention', detector='RetinaNet', insert=[\n"
        "    dict(at='backbone.layer[2-4].*.residual', block=dict(type='mmattn.SE', start='identity'))])\n"
    )
    cfg = Config.fromfile(str(tmp_path / 'mine.py'))
    cfg.dump(str(tmp_path / 'dumped.py'))
    again = Config.fromfile(str(tmp_path / 'dumped.py'))
    assert '_base_ =' not in (tmp_path / 'dumped.py').read_text()
    for each in (cfg, again):
        each.model.backbone.init_cfg = None
    first, second = build(narrow(cfg.model)), build(narrow(again.model))
    assert_same(dict(second.state_dict()), dict(first.state_dict()))
    assert len(first.attention) == 6
