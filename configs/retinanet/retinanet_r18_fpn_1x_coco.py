#   bash tools/dist_train.sh configs/retinanet/retinanet_r18_fpn_1x_coco.py 8
# 21.41 M parameters, 21.25 M of them trained.
_base_ = './retinanet_r50_fpn_1x_coco.py'

model = dict(
    backbone=dict(depth=18, init_cfg=dict(checkpoint='torchvision://resnet18')),
    neck=dict(in_channels=[64, 128, 256, 512]),
)
