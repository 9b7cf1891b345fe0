#   bash tools/dist_train.sh configs/se/faster-rcnn_r18-se_fpn_1x_coco.py 8
# 28.77 M parameters, 28.62 M of them trained; attention: 89,080 at 8 sites.
_base_ = '../faster_rcnn/faster-rcnn_r18_fpn_1x_coco.py'

model = dict(
    type='mmattn.WithAttention',
    detector='FasterRCNN',
    insert=[dict(at='backbone.layer[1-4].*.residual', block=dict(type='mmattn.SE', start='identity'))],
)
