# MMATTN_PRETRAINED names a checkpoint with the keys of MMDetection's MobileNetV2 under "backbone.".
_base_ = '../../retinanet/retinanet_mobilenet-v2_fpn_320_folder.py'

model = dict(
    backbone=dict(
        init_cfg=dict(checkpoint=r'{{$MMATTN_PRETRAINED:mobilenet_v2_in1k.pth}}', prefix='backbone.')
    )
)
# evaluated after epochs 1, 3, 6 and 12: what a fresh block loses early may be regained
train_cfg = dict(dynamic_intervals=[(3, 3), (7, 6)])
