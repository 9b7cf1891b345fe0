_base_ = '../faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'

model = dict(
    type='mmattn.WithAttention',
    detector='FasterRCNN',
    insert=[
        dict(at='neck.lateral_convs.*', block=dict(type='mmattn.SE', start='identity'))
    ])
