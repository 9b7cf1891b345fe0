#   bash tools/dist_train.sh configs/eca/retinanet_r101-eca_fpn_1x_coco.py 8
# 56.96 M parameters, 56.74 M of them trained; attention: 171 at 33 sites.
_base_ = '../retinanet/retinanet_r101_fpn_1x_coco.py'

model = dict(
    type='mmattn.WithAttention',
    detector='RetinaNet',
    insert=[dict(at='backbone.layer[1-4].*.residual', block=dict(type='mmattn.ECA', start='identity'))],
)
