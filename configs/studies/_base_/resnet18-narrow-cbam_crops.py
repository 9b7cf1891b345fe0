# A classifier of crops whose backbone is that of retinanet_r18-narrow_fpn_128_folder.py, with CBAM.
_base_ = 'mmpretrain::_base_/default_runtime.py'

model = dict(
    type='mmattn.WithAttention',
    detector='mmpretrain.ImageClassifier',
    insert=[dict(at='backbone.layer[1-4].*.residual', block=dict(type='mmattn.CBAM'))],
    data_preprocessor=dict(
        type='ClsDataPreprocessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True
    ),
    backbone=dict(
        type='ResNet',
        depth=18,
        stem_channels=16,
        base_channels=16,
        num_stages=4,
        out_indices=(3,),
        style='pytorch',
    ),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='LinearClsHead',
        num_classes=1000,  # those of the crops, by --cfg-options
        in_channels=128,
        loss=dict(type='CrossEntropyLoss', loss_weight=1.0),
        topk=(1,),
    ),
)

scale = 64
pipelines = [
    [
        dict(type='LoadImageFromFile'),
        dict(type='RandomResizedCrop', scale=scale, crop_ratio_range=(0.35, 1.0)),
        dict(type='RandomFlip', prob=0.5, direction='horizontal'),
        dict(type='PackInputs'),
    ],
    [
        dict(type='LoadImageFromFile'),
        dict(type='Resize', scale=(scale, scale)),
        dict(type='PackInputs'),
    ],
]
train_dataloader = dict(
    batch_size=32,
    num_workers=0,
    persistent_workers=False,
    collate_fn=dict(type='default_collate'),
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='CustomDataset', data_root='crops', data_prefix='train', pipeline=pipelines[0]),
)
val_dataloader = dict(
    batch_size=64,
    num_workers=0,
    persistent_workers=False,
    collate_fn=dict(type='default_collate'),
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='CustomDataset', data_root='crops', data_prefix='val', pipeline=pipelines[1]),
)
val_evaluator = dict(type='Accuracy', topk=(1,))

train_cfg = dict(by_epoch=True, max_epochs=5, val_interval=5)
val_cfg = dict()
optim_wrapper = dict(optimizer=dict(type='AdamW', lr=0.002, weight_decay=0.05))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50),
    dict(type='CosineAnnealingLR', eta_min=1e-5, by_epoch=True, begin=0, end=5, convert_to_iter_based=True),
]
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(max_keep_ckpts=1))
randomness = dict(seed=0)
