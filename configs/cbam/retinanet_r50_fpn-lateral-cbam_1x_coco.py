#   bash tools/dist_train.sh configs/cbam/retinanet_r50_fpn-lateral-cbam_1x_coco.py 8
# 37.99 M parameters, 37.77 M of them trained; attention: 25,692 at 3 sites.
_base_ = '../retinanet/retinanet_r50_fpn_1x_coco.py'

model = dict(
    type='mmattn.WithAttention',
    detector='RetinaNet',
    insert=[dict(at='neck.lateral_convs.*', block=dict(type='mmattn.CBAM', start='identity'))],
)
