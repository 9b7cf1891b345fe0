#   bash tools/dist_train.sh configs/se/faster-rcnn_r50_fpn-se_1x_coco.py 8
# 41.79 M parameters, 41.56 M of them trained; attention: 33,856 at 4 sites.
_base_ = '../faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'

model = dict(
    type='mmattn.WithAttention',
    detector='FasterRCNN',
    insert=[dict(at='neck.fpn_convs.*', block=dict(type='mmattn.SE', start='identity'))],
)
