# An ablation of CBAM: the spatial gate has kernel size 3.
#   bash tools/dist_train.sh configs/cbam/faster-rcnn_r50-cbam-k3_fpn_1x_coco.py 8
# 44.28 M parameters, 44.06 M of them trained; attention: 2,531,312 at 16 sites.
_base_ = '../faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'

model = dict(
    type='mmattn.WithAttention',
    detector='FasterRCNN',
    insert=[
        dict(
            at='backbone.layer[1-4].*.residual',
            block=dict(type='mmattn.CBAM', kernel_size=3, start='identity'),
        )
    ],
)
