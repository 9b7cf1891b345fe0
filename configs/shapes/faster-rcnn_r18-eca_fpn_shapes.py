# ECA on every residual branch, trained from scratch.
#   python tools/make_shapes.py
#   python tools/train.py configs/shapes/faster-rcnn_r18-eca_fpn_shapes.py
# 3.89 M parameters, 3.89 M of them trained; attention: 32 at 8 sites.
_base_ = './faster-rcnn_r18_fpn_shapes.py'

model = dict(
    type='mmattn.WithAttention',
    detector='FasterRCNN',
    insert=[dict(at='backbone.layer[1-4].*.residual', block=dict(type='mmattn.ECA', start='identity'))],
)
