#   bash tools/dist_train.sh configs/bam/retinanet_r50-bam_fpn_1x_coco.py 8
# 38.33 M parameters, 38.10 M of them trained; attention: 358,067 at 3 sites.
_base_ = '../retinanet/retinanet_r50_fpn_1x_coco.py'

model = dict(
    type='mmattn.WithAttention',
    detector='RetinaNet',
    insert=[dict(at='backbone.stage[1-3]', block=dict(type='mmattn.BAM', start='identity'))],
)
