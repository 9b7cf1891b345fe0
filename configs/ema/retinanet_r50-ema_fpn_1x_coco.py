#   bash tools/dist_train.sh configs/ema/retinanet_r50-ema_fpn_1x_coco.py 8
# 38.17 M parameters, 37.94 M of them trained; attention: 198,368 at 16 sites.
_base_ = '../retinanet/retinanet_r50_fpn_1x_coco.py'

model = dict(
    type='mmattn.WithAttention',
    detector='RetinaNet',
    insert=[dict(at='backbone.layer[1-4].*.residual', block=dict(type='mmattn.EMA', start='identity'))],
)
