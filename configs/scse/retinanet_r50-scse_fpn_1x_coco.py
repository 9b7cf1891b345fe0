#   bash tools/dist_train.sh configs/scse/retinanet_r50-scse_fpn_1x_coco.py 8
# 58.13 M parameters, 57.90 M of them trained; attention: 20,157,328 at 16 sites.
_base_ = '../retinanet/retinanet_r50_fpn_1x_coco.py'

model = dict(
    type='mmattn.WithAttention',
    detector='RetinaNet',
    insert=[dict(at='backbone.layer[1-4].*.residual', block=dict(type='mmattn.SCSE', start='identity'))],
)
