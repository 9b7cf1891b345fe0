# SE on every residual branch, trained from scratch.
#   python tools/make_shapes.py
#   python tools/train.py configs/shapes/faster-rcnn_r18-se_fpn_shapes.py
# 3.91 M parameters, 3.91 M of them trained; attention: 22,780 at 8 sites.
_base_ = './faster-rcnn_r18_fpn_shapes.py'

model = dict(
    type='mmattn.WithAttention',
    detector='FasterRCNN',
    insert=[dict(at='backbone.layer[1-4].*.residual', block=dict(type='mmattn.SE', start='identity'))],
)
