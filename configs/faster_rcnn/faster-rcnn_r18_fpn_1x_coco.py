#   bash tools/dist_train.sh configs/faster_rcnn/faster-rcnn_r18_fpn_1x_coco.py 8
# 28.68 M parameters, 28.53 M of them trained.
_base_ = './faster-rcnn_r50_fpn_1x_coco.py'

model = dict(
    backbone=dict(depth=18, init_cfg=dict(checkpoint='torchvision://resnet18')),
    neck=dict(in_channels=[64, 128, 256, 512]),
)
