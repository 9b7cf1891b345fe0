#   bash tools/dist_train.sh configs/eca/faster-rcnn_r101-eca_fpn_1x_coco.py 8
# 60.75 M parameters, 60.52 M of them trained; attention: 171 at 33 sites.
_base_ = '../faster_rcnn/faster-rcnn_r101_fpn_1x_coco.py'

model = dict(
    type='mmattn.WithAttention',
    detector='FasterRCNN',
    insert=[dict(at='backbone.layer[1-4].*.residual', block=dict(type='mmattn.ECA', start='identity'))],
)
