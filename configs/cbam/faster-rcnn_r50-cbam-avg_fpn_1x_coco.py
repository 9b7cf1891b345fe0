# An ablation of CBAM: the channel gate uses means only.
#   bash tools/dist_train.sh configs/cbam/faster-rcnn_r50-cbam-avg_fpn_1x_coco.py 8
# 44.29 M parameters, 44.06 M of them trained; attention: 2,532,592 at 16 sites.
_base_ = '../faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'

model = dict(
    type='mmattn.WithAttention',
    detector='FasterRCNN',
    insert=[
        dict(
            at='backbone.layer[1-4].*.residual',
            block=dict(
                type='mmattn.Compose',
                start='identity',
                blocks=[
                    dict(type='mmattn.ChannelAttention', pool_types=('avg',)),
                    dict(type='mmattn.SpatialAttention'),
                ],
            ),
        )
    ],
)
