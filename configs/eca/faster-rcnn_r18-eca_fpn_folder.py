#   python tools/train.py configs/eca/faster-rcnn_r18-eca_fpn_folder.py --data-root FOLDER
# With 80 classes 28.68 M parameters, 28.53 M of them trained; attention: 36 at 8 sites.
_base_ = '../faster_rcnn/faster-rcnn_r18_fpn_folder.py'

model = dict(
    type='mmattn.WithAttention',
    detector='FasterRCNN',
    insert=[dict(at='backbone.layer[1-4].*.residual', block=dict(type='mmattn.ECA', start='identity'))],
)
