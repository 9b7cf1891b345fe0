#   bash tools/dist_train.sh configs/se/faster-rcnn_r101-se_fpn_1x_coco.py 8
# 65.52 M parameters, 65.30 M of them trained; attention: 4,777,712 at 33 sites.
_base_ = '../faster_rcnn/faster-rcnn_r101_fpn_1x_coco.py'

model = dict(
    type='mmattn.WithAttention',
    detector='FasterRCNN',
    insert=[dict(at='backbone.layer[1-4].*.residual', block=dict(type='mmattn.SE', start='identity'))],
)
