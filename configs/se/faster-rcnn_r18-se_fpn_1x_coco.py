_base_ = '../faster_rcnn/faster-rcnn_r18_fpn_1x_coco.py'

model = dict(
    type='mmattn.WithAttention',
    detector='FasterRCNN',
    insert=[
        dict(at='backbone.layer[1-4].*.residual', block=dict(type='mmattn.SE', start='identity'))
    ])
