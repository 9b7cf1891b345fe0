#   python tools/make_shapes.py
#   python tools/train.py configs/shapes/gfl_r18-cbam_fpn_shapes.py
# 3.19 M parameters, 3.19 M of them trained; attention: 23,580 at 8 sites.
_base_ = './gfl_r18_fpn_shapes.py'

model = dict(
    type='mmattn.WithAttention',
    detector='GFL',
    insert=[dict(at='backbone.layer[1-4].*.residual', block=dict(type='mmattn.CBAM', start='identity'))],
)
