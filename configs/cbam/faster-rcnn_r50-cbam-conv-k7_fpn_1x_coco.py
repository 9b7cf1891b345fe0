# An ablation of CBAM: the spatial gate has a 1x1 convolution in place of its pooling.
#   bash tools/dist_train.sh configs/cbam/faster-rcnn_r50-cbam-conv-k7_fpn_1x_coco.py 8
# 44.30 M parameters, 44.07 M of them trained; attention: 2,546,912 at 16 sites.
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
                    dict(type='mmattn.ChannelAttention'),
                    dict(type='mmattn.SpatialAttention', descriptor='conv'),
                ],
            ),
        )
    ],
)
