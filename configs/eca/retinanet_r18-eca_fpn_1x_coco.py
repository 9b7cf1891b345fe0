#   bash tools/dist_train.sh configs/eca/retinanet_r18-eca_fpn_1x_coco.py 8
# 21.41 M parameters, 21.25 M of them trained; attention: 36 at 8 sites.
_base_ = '../retinanet/retinanet_r18_fpn_1x_coco.py'

model = dict(
    type='mmattn.WithAttention',
    detector='RetinaNet',
    insert=[dict(at='backbone.layer[1-4].*.residual', block=dict(type='mmattn.ECA', start='identity'))],
)
