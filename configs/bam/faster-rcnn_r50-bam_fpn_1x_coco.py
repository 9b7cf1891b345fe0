#   bash tools/dist_train.sh configs/bam/faster-rcnn_r50-bam_fpn_1x_coco.py 8
# 42.11 M parameters, 41.89 M of them trained; attention: 358,067 at 3 sites.
_base_ = '../faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'

model = dict(
    type='mmattn.WithAttention',
    detector='FasterRCNN',
    insert=[dict(at='backbone.stage[1-3]', block=dict(type='mmattn.BAM', start='identity'))],
)
