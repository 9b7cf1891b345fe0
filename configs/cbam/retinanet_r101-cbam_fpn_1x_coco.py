#   bash tools/dist_train.sh configs/cbam/retinanet_r101-cbam_fpn_1x_coco.py 8
# 61.74 M parameters, 61.52 M of them trained; attention: 4,781,012 at 33 sites.
_base_ = '../retinanet/retinanet_r101_fpn_1x_coco.py'

model = dict(
    type='mmattn.WithAttention',
    detector='RetinaNet',
    insert=[dict(at='backbone.layer[1-4].*.residual', block=dict(type='mmattn.CBAM', start='identity'))],
)
