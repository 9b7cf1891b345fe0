_base_ = '../retinanet/retinanet_r50_fpn_1x_coco.py'

model = dict(
    type='mmattn.WithAttention',
    detector='RetinaNet',
    insert=[
        dict(at='neck.fpn_convs.*', block=dict(type='mmattn.ECA', start='identity'))
    ])
