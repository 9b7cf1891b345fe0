#   python tools/train.py configs/retinanet/retinanet_mobilenet-v2_fpn_320_folder.py --data-root FOLDER
# With 80 classes 3.78 M parameters, 3.78 M of them trained.
# For two CPU cores or a small GPU: images of at most 320 px, and a thin neck and head.
_base_ = [
    'mmdet::_base_/models/retinanet_r50_fpn.py',
    '../_base_/datasets/coco_folder.py',
    '../_base_/schedules/schedule_folder.py',
    'mmdet::_base_/default_runtime.py',
]

model = dict(
    backbone=dict(
        _delete_=True,
        type='MobileNetV2',
        out_indices=(2, 4, 7),
        # As MMDetection's ResNets: norms keep the statistics of ImageNet, stride 4 and less is frozen.
        norm_eval=True,
        frozen_stages=2,
        init_cfg=dict(type='Pretrained', checkpoint='open-mmlab://mmdet/mobilenet_v2'),
    ),
    # Half the usual depth and a quarter of the width, which would take most of the time; with group norms,
    # since so narrow a head learns nothing from RetinaNet's small initial weights in a few hundred steps.
    neck=dict(in_channels=[32, 96, 1280], start_level=0, out_channels=64),
    bbox_head=dict(
        num_classes=_base_.num_classes,
        in_channels=64,
        feat_channels=64,
        stacked_convs=2,
        norm_cfg=dict(type='GN', num_groups=16, requires_grad=True),
    ),
)

scale = (320, 320)
train_pipeline = [
    dict(type='mmattn.LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=scale, keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=scale, keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
train_dataloader = dict(batch_size=8, num_workers=1, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(batch_size=8, num_workers=1, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

train_cfg = dict(max_epochs=12)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50),
    dict(type='MultiStepLR', begin=0, end=12, by_epoch=True, milestones=[8, 11], gamma=0.1),
]
optim_wrapper = dict(optimizer=dict(lr=0.0005))
auto_scale_lr = dict(enable=False, base_batch_size=8)
default_hooks = dict(logger=dict(interval=20))
