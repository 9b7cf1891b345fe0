#   bash tools/dist_train.sh configs/non_local/faster-rcnn_r50-nl_fpn_1x_coco.py 8
# 43.85 M parameters, 43.63 M of them trained; attention: 2,099,712 at 1 site.
_base_ = '../faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'

model = dict(
    type='mmattn.WithAttention',
    detector='FasterRCNN',
    insert=[dict(at='backbone.layer3.4', block=dict(type='mmattn.NonLocal'))],
)
