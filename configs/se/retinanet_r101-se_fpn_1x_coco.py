#   bash tools/dist_train.sh configs/se/retinanet_r101-se_fpn_1x_coco.py 8
# 61.74 M parameters, 61.51 M of them trained; attention: 4,777,712 at 33 sites.
_base_ = '../retinanet/retinanet_r101_fpn_1x_coco.py'

model = dict(
    type='mmattn.WithAttention',
    detector='RetinaNet',
    insert=[dict(at='backbone.layer[1-4].*.residual', block=dict(type='mmattn.SE', start='identity'))],
)
