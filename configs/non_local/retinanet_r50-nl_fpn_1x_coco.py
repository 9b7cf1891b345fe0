#   bash tools/dist_train.sh configs/non_local/retinanet_r50-nl_fpn_1x_coco.py 8
# 40.07 M parameters, 39.84 M of them trained; attention: 2,099,712 at 1 site.
_base_ = '../retinanet/retinanet_r50_fpn_1x_coco.py'

model = dict(
    type='mmattn.WithAttention',
    detector='RetinaNet',
    insert=[dict(at='backbone.layer3.4', block=dict(type='mmattn.NonLocal'))],
)
