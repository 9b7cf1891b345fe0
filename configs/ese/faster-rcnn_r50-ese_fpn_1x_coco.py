#   bash tools/dist_train.sh configs/ese/faster-rcnn_r50-ese_fpn_1x_coco.py 8
# 61.89 M parameters, 61.66 M of them trained; attention: 20,134,656 at 16 sites.
_base_ = '../faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'

model = dict(
    type='mmattn.WithAttention',
    detector='FasterRCNN',
    insert=[dict(at='backbone.layer[1-4].*.residual', block=dict(type='mmattn.ESE', start='identity'))],
)
