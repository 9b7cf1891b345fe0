#   bash tools/dist_train.sh configs/eca/faster-rcnn_r50_fpn-eca_1x_coco.py 8
# 41.75 M parameters, 41.53 M of them trained; attention: 20 at 4 sites.
_base_ = '../faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'

model = dict(
    type='mmattn.WithAttention',
    detector='FasterRCNN',
    insert=[dict(at='neck.fpn_convs.*', block=dict(type='mmattn.ECA', start='identity'))],
)
