#   bash tools/dist_train.sh configs/cbam/retinanet_r18-cbam_fpn_1x_coco.py 8
# 21.50 M parameters, 21.34 M of them trained; attention: 89,880 at 8 sites.
_base_ = '../retinanet/retinanet_r18_fpn_1x_coco.py'

model = dict(
    type='mmattn.WithAttention',
    detector='RetinaNet',
    insert=[dict(at='backbone.layer[1-4].*.residual', block=dict(type='mmattn.CBAM', start='identity'))],
)
