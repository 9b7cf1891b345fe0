#   bash tools/dist_train.sh configs/ese/retinanet_r50-ese_fpn_1x_coco.py 8
# 58.10 M parameters, 57.88 M of them trained; attention: 20,134,656 at 16 sites.
_base_ = '../retinanet/retinanet_r50_fpn_1x_coco.py'

model = dict(
    type='mmattn.WithAttention',
    detector='RetinaNet',
    insert=[dict(at='backbone.layer[1-4].*.residual', block=dict(type='mmattn.ESE', start='identity'))],
)
