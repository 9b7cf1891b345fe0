_base_ = '../retinanet/retinanet_r18_fpn_1x_coco.py'

model = dict(
    type='mmattn.WithAttention',
    detector='RetinaNet',
    insert=[
        dict(at='backbone.layer[1-4].*.residual', block=dict(type='mmattn.SE', start='identity'))
    ])
