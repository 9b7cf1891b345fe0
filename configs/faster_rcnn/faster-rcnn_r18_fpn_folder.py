#   python tools/train.py configs/faster_rcnn/faster-rcnn_r18_fpn_folder.py --data-root FOLDER
# With 80 classes 28.68 M parameters, 28.53 M of them trained.
_base_ = [
    'mmdet::_base_/models/faster-rcnn_r50_fpn.py',
    '../_base_/datasets/coco_folder.py',
    '../_base_/schedules/schedule_folder.py',
    'mmdet::_base_/default_runtime.py',
]

model = dict(
    backbone=dict(depth=18, init_cfg=dict(checkpoint='torchvision://resnet18')),
    neck=dict(in_channels=[64, 128, 256, 512]),
    roi_head=dict(bbox_head=dict(num_classes=_base_.num_classes)),
)
