#   bash tools/dist_train.sh configs/eca/retinanet_r50_fpn-lateral-eca_1x_coco.py 8
# 37.97 M parameters, 37.74 M of them trained; attention: 15 at 3 sites.
_base_ = '../retinanet/retinanet_r50_fpn_1x_coco.py'

model = dict(
    type='mmattn.WithAttention',
    detector='RetinaNet',
    insert=[dict(at='neck.lateral_convs.*', block=dict(type='mmattn.ECA', start='identity'))],
)
