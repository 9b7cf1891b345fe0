# SKNet-50. Its first branches take ResNeXt-50's ImageNet weights, so it starts with ResNeXt-50's outputs.
#   bash tools/dist_train.sh configs/sknet/faster-rcnn_sknet50_fpn_1x_coco.py 8
# 43.68 M parameters, 43.41 M of them trained.
_base_ = '../faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'

model = dict(
    backbone=dict(
        type='ResNeXt',
        groups=32,
        base_width=4,
        dcn=dict(type='mmattn.SKConv', fallback_on_stride=False, start='identity'),
        stage_with_dcn=(True, True, True, True),
        init_cfg=dict(type='Pretrained', checkpoint='open-mmlab://resnext50_32x4d'),
    )
)
