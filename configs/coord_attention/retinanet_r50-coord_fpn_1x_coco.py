#   bash tools/dist_train.sh configs/coord_attention/retinanet_r50-coord_fpn_1x_coco.py 8
# 39.89 M parameters, 39.66 M of them trained; attention: 1,917,832 at 16 sites.
_base_ = '../retinanet/retinanet_r50_fpn_1x_coco.py'

model = dict(
    type='mmattn.WithAttention',
    detector='RetinaNet',
    insert=[
        dict(at='backbone.layer[1-4].*.residual', block=dict(type='mmattn.CoordAttention', start='identity'))
    ],
)
