# A detector whose training draws random numbers wherever it can, small enough for a few steps a second.
_base_ = '../../configs/cbam/faster-rcnn_r18-cbam_fpn_folder.py'

custom_imports = dict(imports=['tests.test_tools.shaky'], allow_failed_imports=False)
randomness = dict(seed=3, deterministic=True)
model = dict(
    data_preprocessor=dict(
        batch_augments=[
            dict(type='BatchSyncRandomResize', random_size_range=(64, 128), size_divisor=32, interval=3)
        ]
    ),
    backbone=dict(base_channels=8, stem_channels=8, init_cfg=None, frozen_stages=-1, norm_eval=False),
    neck=dict(type='ShakyFPN', in_channels=[8, 16, 32, 64], out_channels=16),
    rpn_head=dict(in_channels=16, feat_channels=16),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=16),
        bbox_head=dict(in_channels=16, fc_out_channels=32),
    ),
    train_cfg=dict(rpn_proposal=dict(max_per_img=100), rcnn=dict(sampler=dict(num=32))),
    test_cfg=dict(rpn=dict(max_per_img=100)),
)
train_dataloader = dict(
    batch_size=2,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        pipeline=[
            dict(type='mmattn.LoadImageFromFile'),
            dict(type='LoadAnnotations', with_bbox=True),
            dict(type='PhotoMetricDistortion'),
            dict(type='RandomChoiceResize', scales=[(80, 80), (96, 96)], keep_ratio=True),
            dict(type='RandomFlip', prob=0.5),
            dict(type='PackDetInputs'),
        ]
    ),
)
val_dataloader = dict(num_workers=0, persistent_workers=False)
test_dataloader = val_dataloader
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=6),
    dict(type='MultiStepLR', by_epoch=True, milestones=[2], gamma=0.3),
]
optim_wrapper = dict(optimizer=dict(type='AdamW', lr=0.01, _delete_=True), clip_grad=dict(max_norm=10))
default_hooks = dict(logger=dict(interval=1))
custom_hooks = [dict(type='EMAHook', momentum=0.3)]
