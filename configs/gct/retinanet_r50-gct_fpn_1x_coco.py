#   bash tools/dist_train.sh configs/gct/retinanet_r50-gct_fpn_1x_coco.py 8
# 38.01 M parameters, 37.79 M of them trained; attention: 45,312 at 16 sites.
_base_ = '../retinanet/retinanet_r50_fpn_1x_coco.py'

model = dict(
    type='mmattn.WithAttention',
    detector='RetinaNet',
    insert=[dict(at='backbone.layer[1-4].*.residual', block=dict(type='mmattn.GCT'))],
)
