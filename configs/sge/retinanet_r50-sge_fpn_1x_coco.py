#   bash tools/dist_train.sh configs/sge/retinanet_r50-sge_fpn_1x_coco.py 8
# 37.97 M parameters, 37.75 M of them trained; attention: 2,048 at 16 sites.
_base_ = '../retinanet/retinanet_r50_fpn_1x_coco.py'

model = dict(
    type='mmattn.WithAttention',
    detector='RetinaNet',
    insert=[dict(at='backbone.layer[1-4].*.residual', block=dict(type='mmattn.SGE', start='identity'))],
)
