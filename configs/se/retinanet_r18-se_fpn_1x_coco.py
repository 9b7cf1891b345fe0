#   bash tools/dist_train.sh configs/se/retinanet_r18-se_fpn_1x_coco.py 8
# 21.50 M parameters, 21.34 M of them trained; attention: 89,080 at 8 sites.
_base_ = '../retinanet/retinanet_r18_fpn_1x_coco.py'

model = dict(
    type='mmattn.WithAttention',
    detector='RetinaNet',
    insert=[dict(at='backbone.layer[1-4].*.residual', block=dict(type='mmattn.SE', start='identity'))],
)
