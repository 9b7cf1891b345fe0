#   bash tools/dist_train.sh configs/cbam/retinanet_r50-cbam_fpn_1x_coco.py 8
# 40.50 M parameters, 40.28 M of them trained; attention: 2,532,592 at 16 sites.
_base_ = '../retinanet/retinanet_r50_fpn_1x_coco.py'

model = dict(
    type='mmattn.WithAttention',
    detector='RetinaNet',
    insert=[dict(at='backbone.layer[1-4].*.residual', block=dict(type='mmattn.CBAM', start='identity'))],
)
