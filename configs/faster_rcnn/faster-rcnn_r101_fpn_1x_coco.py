#   bash tools/dist_train.sh configs/faster_rcnn/faster-rcnn_r101_fpn_1x_coco.py 8
# 60.75 M parameters, 60.52 M of them trained.
_base_ = './faster-rcnn_r50_fpn_1x_coco.py'

model = dict(backbone=dict(depth=101, init_cfg=dict(checkpoint='torchvision://resnet101')))
