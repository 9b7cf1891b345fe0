#   bash tools/dist_train.sh configs/se/retinanet_r50_fpn-se_1x_coco.py 8
# 38.01 M parameters, 37.79 M of them trained; attention: 42,320 at 5 sites.
_base_ = '../retinanet/retinanet_r50_fpn_1x_coco.py'

model = dict(
    type='mmattn.WithAttention',
    detector='RetinaNet',
    insert=[dict(at='neck.fpn_convs.*', block=dict(type='mmattn.SE', start='identity'))],
)
