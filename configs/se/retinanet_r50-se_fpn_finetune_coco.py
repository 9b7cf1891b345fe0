#   bash tools/dist_train.sh configs/se/retinanet_r50-se_fpn_finetune_coco.py 8
# 40.50 M parameters, 40.27 M of them trained; attention: 2,530,992 at 16 sites.
_base_ = '../retinanet/retinanet_r50_fpn_finetune_coco.py'

model = dict(
    type='mmattn.WithAttention',
    detector='RetinaNet',
    insert=[dict(at='backbone.layer[1-4].*.residual', block=dict(type='mmattn.SE', start='identity'))],
)
