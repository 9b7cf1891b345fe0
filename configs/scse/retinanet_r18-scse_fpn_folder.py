#   python tools/train.py configs/scse/retinanet_r18-scse_fpn_folder.py --data-root FOLDER
# With 80 classes 22.11 M parameters, 21.95 M of them trained; attention: 701,128 at 8 sites.
_base_ = '../retinanet/retinanet_r18_fpn_folder.py'

model = dict(
    type='mmattn.WithAttention',
    detector='RetinaNet',
    insert=[dict(at='backbone.layer[1-4].*.residual', block=dict(type='mmattn.SCSE', start='identity'))],
)
