"""Options that lead nowhere in a config are refused by name; all others change it as MMEngine does."""

import re

import pytest
from mmengine.config import Config

from mmattn.engine.merge_options import RUN_KEYS, merge_options


def config():
    block = dict(type='mmattn.SE', reduction=16)
    pipeline = [dict(type='Resize', scale=(640, 640)), dict(type='RandomFlip', prob=0.5)]
    return Config(
        dict(
            default_scope='mmdet',
            num_classes=3,
            data_root='data/x/',
            train_pipeline=pipeline,
            model=dict(
                type='mmattn.WithAttention',
                detector='RetinaNet',
                insert=[dict(at='neck.*', block=block)],
                backbone=dict(type='ResNet', depth=18, norm_eval=True, init_cfg=None),
                neck=dict(type='FPN', in_channels=[64, 128]),
                bbox_head=dict(type='RetinaHead', num_classes=3),
                test_cfg=dict(score_thr=0.05, nms=dict(type='nms', iou_threshold=0.5)),
            ),
            train_dataloader=dict(batch_size=4, dataset=dict(data_root='data/x/', pipeline=pipeline)),
            optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=0.0002)),
        )
    )


@pytest.mark.parametrize(
    'key, value, says',
    [
        (
            'model.insert.block.reduction',
            8,
            'model.insert is a list of 1. Name the entry by its number, from 0: '
            'model.insert.0.block.reduction=8',
        ),
        ('model.insert.-1.at', 'x', "from 0: model.insert.0.-1.at='x'"),
        (
            'model.insert.1.at',
            'x',
            'model.insert ends with model.insert.0. Give a longer list whole: model.insert="[dict(...)]"',
        ),
        (
            'model.insrt.0.at',
            'x',
            "model has no 'insrt'; did you mean model.insert? If it is a new key, write ",
        ),
        (
            'model.insert.0.blok.reduction',
            8,
            "model.insert.0 has no 'blok'; did you mean model.insert.0.block?",
        ),
        ('model.insert.0.block.reductoin', 8, 'did you mean model.insert.0.block.reduction?'),
        ('model.backbone.frozen_stage', 1, 'did you mean model.backbone.frozen_stages?'),  # not in the config
        ('model.test_cfg.scor_thr', 0.1, 'did you mean model.test_cfg.score_thr?'),
        (
            'train_dataloder.batch_size',
            2,
            "the config has no 'train_dataloder'; did you mean train_dataloader?",
        ),
        ('optim_wrapper.optimiser.lr', 1, 'did you mean optim_wrapper.optimizer?'),
        (
            'model.neck.in_channels.0',
            8,
            'model.neck.in_channels is [64, 128], whose entries cannot be set alone: give it whole',
        ),
        ('train_dataloader.dataset.pipeline.0.scale.0', 8, 'pipeline.0.scale is (640, 640), whose entries'),
        ('train_dataloader.dataset.pipeline.1', 'x', 'whose entries cannot be set alone'),
        (
            'model.backbone.depth.x',
            2,
            'model.backbone.depth is 18. Give it whole: model.backbone.depth="dict(x=',
        ),
        (
            'model.backbone.init_cfg.checkpoint',
            'a',
            'init_cfg is None. Give it whole: model.backbone.init_cfg="d',
        ),
        (
            'custom_hooks.0.type',
            'X',
            'the config has no custom_hooks. Give it whole: custom_hooks="[dict(type=',
        ),
        (
            'train_pipeline.0.scale',
            (320, 320),
            "'train_pipeline' is a variable of the config file, and what was made with it stays as it is. "
            'Set train_dataloader.dataset.pipeline.0.scale',
        ),
        ('num_classes', 5, 'Set model.bbox_head.num_classes'),
        ('data_root', '/d', 'Set train_dataloader.dataset.data_root, or give --data-root'),
    ],
)
def test_an_option_that_leads_nowhere_is_refused(key, value, says):
    cfg = config()
    with pytest.raises(ValueError, match=re.escape(says)) as error:
        merge_options(cfg, {key: value}, RUN_KEYS)
    assert str(error.value).startswith(f'{key}={value!r}: ')
    assert cfg.to_dict() == config().to_dict()


@pytest.mark.parametrize(
    'options',
    [
        {'model.insert.0.block.reduction': 8},
        {'model.insert.0.block.bias': False},
        {'model.insert.0': dict(order=1)},
        {'model.insert': [dict(at='x', block=dict(type='mmattn.ECA'))]},
        {'model.backbone.frozen_stages': 1},  # new, and an argument of ResNet
        {'model.backbone.stem_channels': 8, 'model.backbone.depth': 34},
        {'model.neck.in_channels': [1, 2]},
        {'model.backbone.depth': 34, 'model.backbone._delete_': True, 'model.backbone.type': 'ResNet'},
        {'model.train_cfg.assigner.pos_iou_thr': 0.5},
        {'custom_hooks': [dict(type='EMAHook')], 'randomness.seed': 1, 'resume': True},
        {'optim_wrapper.paramwise_cfg.custom_keys.attention.lr_mult': 2},
        {'visualizer': dict(type='X')},
    ],
)
def test_all_others_do_what_mmengine_does(options):
    cfg, expected = config(), config()
    merge_options(cfg, options, RUN_KEYS)
    expected.merge_from_dict(options)
    assert cfg.to_dict() == expected.to_dict() != config().to_dict()


def test_options_are_applied_one_after_the_other():
    cfg = config()
    rules = [
        dict(at='neck.*', block=dict(type='mmattn.SE')),
        dict(at='backbone', block=dict(type='mmattn.SE')),
    ]
    merge_options(cfg, {'model.insert': rules, 'model.insert.1.block.type': 'mmattn.ECA'}, RUN_KEYS)
    assert [rule.block.type for rule in cfg.model.insert] == ['mmattn.SE', 'mmattn.ECA']


@pytest.mark.parametrize(
    'key, value, says',
    [
        (
            'model.backbone.norm_eval',
            'no',
            "norm_eval='no': this is a text, in place of True. Python has True,",
        ),
        ('optim_wrapper.optimizer.lr', '1/16', "lr='1/16': this is a text, in place of 0.0002."),
        ('load_from', 'none', "load_from='none': this is a text. Python has True, False and None"),
        ('speed.limit', 3, "speed.limit=3: nothing in MMEngine, MMDetection or mmattn reads 'speed'"),
    ],
)
def test_what_is_likely_a_mistake_is_told(key, value, says, warnings):
    merge_options(config(), {key: value}, RUN_KEYS)
    assert len(warnings) == 1 and says in warnings[0]


def test_a_text_in_place_of_a_text_is_none(warnings):
    merge_options(config(), {'model.backbone.type': 'Swin', 'work_dir': 'a', 'load_from': 'b.pth'}, RUN_KEYS)
    assert warnings == []


def test_of_a_config_that_is_none_of_a_run_all_keys_are_read(warnings):
    cfg = Config(dict(seeds=[1, 2], settings=dict()))
    merge_options(cfg, {'seeds': [3], 'settings.model.backbone.init_cfg': None})
    assert cfg.seeds == [3] and warnings == []
