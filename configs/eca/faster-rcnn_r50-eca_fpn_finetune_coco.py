#   bash tools/dist_train.sh configs/eca/faster-rcnn_r50-eca_fpn_finetune_coco.py 8
# 41.75 M parameters, 41.53 M of them trained; attention: 86 at 16 sites.
_base_ = '../faster_rcnn/faster-rcnn_r50_fpn_finetune_coco.py'

model = dict(
    type='mmattn.WithAttention',
    detector='FasterRCNN',
    insert=[dict(at='backbone.layer[1-4].*.residual', block=dict(type='mmattn.ECA', start='identity'))],
)
