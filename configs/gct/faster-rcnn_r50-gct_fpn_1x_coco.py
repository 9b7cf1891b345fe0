#   bash tools/dist_train.sh configs/gct/faster-rcnn_r50-gct_fpn_1x_coco.py 8
# 41.80 M parameters, 41.57 M of them trained; attention: 45,312 at 16 sites.
_base_ = '../faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'

model = dict(
    type='mmattn.WithAttention',
    detector='FasterRCNN',
    insert=[dict(at='backbone.layer[1-4].*.residual', block=dict(type='mmattn.GCT'))],
)
