# CBAM's spatial attention alone.
#   bash tools/dist_train.sh configs/cbam/faster-rcnn_r50-spatial-attention_fpn_1x_coco.py 8
# 41.75 M parameters, 41.53 M of them trained; attention: 1,600 at 16 sites.
_base_ = '../faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'

model = dict(
    type='mmattn.WithAttention',
    detector='FasterRCNN',
    insert=[
        dict(
            at='backbone.layer[1-4].*.residual', block=dict(type='mmattn.SpatialAttention', start='identity')
        )
    ],
)
