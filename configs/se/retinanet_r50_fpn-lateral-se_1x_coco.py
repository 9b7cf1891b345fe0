#   bash tools/dist_train.sh configs/se/retinanet_r50_fpn-lateral-se_1x_coco.py 8
# 37.99 M parameters, 37.77 M of them trained; attention: 25,392 at 3 sites.
_base_ = '../retinanet/retinanet_r50_fpn_1x_coco.py'

model = dict(
    type='mmattn.WithAttention',
    detector='RetinaNet',
    insert=[dict(at='neck.lateral_convs.*', block=dict(type='mmattn.SE', start='identity'))],
)
