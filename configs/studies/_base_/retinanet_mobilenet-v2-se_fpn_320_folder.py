# SE on the expanded maps of MobileNetV2, where MobileNetV3 has it: each of their channels has a gate.
_base_ = './retinanet_mobilenet-v2_fpn_320_folder.py'

model = dict(
    type='mmattn.WithAttention',
    detector='RetinaNet',
    insert=[dict(at='backbone.layer[3-7].*.depthwise_conv', block=dict(type='mmattn.SE', start='identity'))],
)
