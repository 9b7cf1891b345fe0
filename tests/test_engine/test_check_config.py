"""A key of the config whose value cannot be meant is named before anything is built."""

import pytest
from mmengine.config import Config
from mmengine.hooks import IterTimerHook

from mmattn.engine.check_config import check_config
from mmattn.engine.data_root import load_config

WRONG = [
    (dict(exact_resume='no'), "exact_resume='no' in the config, but True or False is needed"),
    (dict(load_from=''), "load_from='' in the config, but the path of a file or None is needed"),
    (dict(resume='yes'), "resume='yes' in the config, but True or False or None is needed"),
    (dict(custom_hooks=['mmattn.AdapterHook']),
        r"custom_hooks=\['mmattn.AdapterHook'\] in the config, but a l"),
    (dict(custom_hooks=dict(type='EMAHook')),
        "custom_hooks={'type': 'EMAHook'} in the config, but a list of"),
    (dict(default_hooks=dict(checkpoint=3)), 'default_hooks.checkpoint=3 in the config, but a hook'),
    (dict(train_cfg=dict(max_iters=0)), 'train_cfg.max_iters=0 in the config, but a whole number from 1 on'),
    (dict(randomness=dict(seed=2**40)),
        'randomness.seed=1099511627776 in the config, but a whole number from'),
    (dict(log_level='LOUD'), "log_level='LOUD' in the config, but a level such as 'INFO' is needed"),
    (dict(optim_wrapper=dict(optimizer=dict(type='SGD', lr='x'))),
        "optim_wrapper.optimizer.lr='x' in the con"),
    (dict(train_dataloader=dict(num_workers=None, dataset=dict(type='X'))),
        'train_dataloader.num_workers=None in the config, but a'),
    (dict(val_dataloader=dict(dataset='coco')),
        "val_dataloader.dataset='coco' in the config, but a config with"),
    (dict(val_evaluator=[dict(type='CocoMetric', ann_file=3)]), 'val_evaluator.0.ann_file=3 in the config'),
    (dict(val_evaluator='CocoMetric'), "val_evaluator='CocoMetric' in the config, but a metric"),
    (
        dict(train_dataloader=dict(dataset=dict(type='RepeatDataset', dataset=dict(type='X', data_root=3)))),
        'train_dataloader.dataset.dataset.data_root=3 in the config, but a text or None is needed',
    ),
    (
        dict(train_dataloader=dict(dataset=dict(type='C', datasets=[dict(type='X'), dict(type='X',
            pipeline=3)]))),
        r'train_dataloader.dataset.datasets.1.pipeline=3 in the config, but a list of transforms',
    ),
    (dict(train_dataloader=dict(dataset=dict(type='X', data_prefix='train'))),
        "train_dataloader.dataset.data_prefix='train' in the config, but a dict of folders"),
    (dict(param_scheduler=['x' * 200]), r"param_scheduler=\['x{75}\.\.\. in the config"),
]  # fmt: skip

RIGHT = [
    {},
    dict(load_from=None, resume=None, custom_hooks=None, default_hooks=None, work_dir=None,
        auto_scale_lr=None),
    dict(default_hooks=dict(visualization=None), custom_hooks=(dict(type='EMAHook'), IterTimerHook())),
    dict(val_evaluator=dict(metrics=[dict(type='CocoMetric', ann_file='a.json')]), val_dataloader=None),
    dict(test_evaluator=[], param_scheduler=dict(generator=dict(type='LinearLR'))),
    dict(optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0))),
    dict(train_dataloader=dict(dataset=dict(type='X', metainfo=dict(classes='names.txt'), pipeline=[str]))),
    dict(default_scope='mmpretrain', train_dataloader=dict(dataset=dict(type='X', data_prefix='train'))),
    dict(train_cfg=dict(by_epoch=True, max_epochs=1, val_interval=10**9), log_level=20),
]  # fmt: skip


@pytest.mark.parametrize('config, says', WRONG, ids=[text for _, text in WRONG])
def test_a_value_that_a_key_cannot_have(config, says):
    with pytest.raises(TypeError, match=says):
        check_config(Config(config))


@pytest.mark.parametrize('config', RIGHT)
def test_a_value_that_it_can_have(config):
    check_config(Config(config))


@pytest.mark.parametrize(
    'config',
    [
        'configs/shapes/faster-rcnn_r18-cbam_fpn_shapes.py',
        'mmdet::soft_teacher/soft-teacher_faster-rcnn_r50-caffe_fpn_180k_semi-0.1-coco.py',
        'mmdet::yolox/yolox_tiny_8xb8-300e_coco.py',
        'mmdet::openimages/faster-rcnn_r50_fpn_32xb2-1x_openimages.py',
        'mmdet::reid/reid_r50_8xb32-6e_mot17train80_test-mot17val20.py',
        'mmdet::grounding_dino/grounding_dino_r50_scratch_8xb2_1x_coco.py',
    ],
)
def test_configs_of_others_pass(in_project, config):
    check_config(load_config(config))
