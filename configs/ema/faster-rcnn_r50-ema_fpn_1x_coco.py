#   bash tools/dist_train.sh configs/ema/faster-rcnn_r50-ema_fpn_1x_coco.py 8
# 41.95 M parameters, 41.73 M of them trained; attention: 198,368 at 16 sites.
_base_ = '../faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'

model = dict(
    type='mmattn.WithAttention',
    detector='FasterRCNN',
    insert=[dict(at='backbone.layer[1-4].*.residual', block=dict(type='mmattn.EMA', start='identity'))],
)
