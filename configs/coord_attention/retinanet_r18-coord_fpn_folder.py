#   python tools/train.py configs/coord_attention/retinanet_r18-coord_fpn_folder.py --data-root FOLDER
# With 80 classes 21.48 M parameters, 21.33 M of them trained; attention: 74,736 at 8 sites.
_base_ = '../retinanet/retinanet_r18_fpn_folder.py'

model = dict(
    type='mmattn.WithAttention',
    detector='RetinaNet',
    insert=[
        dict(at='backbone.layer[1-4].*.residual', block=dict(type='mmattn.CoordAttention', start='identity'))
    ],
)
