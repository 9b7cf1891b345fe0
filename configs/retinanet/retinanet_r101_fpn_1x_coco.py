#   bash tools/dist_train.sh configs/retinanet/retinanet_r101_fpn_1x_coco.py 8
# 56.96 M parameters, 56.74 M of them trained.
_base_ = './retinanet_r50_fpn_1x_coco.py'

model = dict(backbone=dict(depth=101, init_cfg=dict(checkpoint='torchvision://resnet101')))
