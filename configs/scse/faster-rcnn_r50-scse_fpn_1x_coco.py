#   bash tools/dist_train.sh configs/scse/faster-rcnn_r50-scse_fpn_1x_coco.py 8
# 61.91 M parameters, 61.69 M of them trained; attention: 20,157,328 at 16 sites.
_base_ = '../faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'

model = dict(
    type='mmattn.WithAttention',
    detector='FasterRCNN',
    insert=[dict(at='backbone.layer[1-4].*.residual', block=dict(type='mmattn.SCSE', start='identity'))],
)
