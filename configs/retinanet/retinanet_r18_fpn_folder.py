#   python tools/train.py configs/retinanet/retinanet_r18_fpn_folder.py --data-root FOLDER
# With 80 classes 21.41 M parameters, 21.25 M of them trained.
_base_ = [
    'mmdet::_base_/models/retinanet_r50_fpn.py',
    '../_base_/datasets/coco_folder.py',
    '../_base_/schedules/schedule_folder.py',
    'mmdet::_base_/default_runtime.py',
]

model = dict(
    backbone=dict(depth=18, init_cfg=dict(checkpoint='torchvision://resnet18')),
    neck=dict(in_channels=[64, 128, 256, 512]),
    bbox_head=dict(num_classes=_base_.num_classes),
)
