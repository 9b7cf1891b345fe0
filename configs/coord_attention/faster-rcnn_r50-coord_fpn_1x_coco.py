#   bash tools/dist_train.sh configs/coord_attention/faster-rcnn_r50-coord_fpn_1x_coco.py 8
# 43.67 M parameters, 43.45 M of them trained; attention: 1,917,832 at 16 sites.
_base_ = '../faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'

model = dict(
    type='mmattn.WithAttention',
    detector='FasterRCNN',
    insert=[
        dict(at='backbone.layer[1-4].*.residual', block=dict(type='mmattn.CoordAttention', start='identity'))
    ],
)
