#   python tools/train.py configs/gct/retinanet_r18-gct_fpn_folder.py --data-root FOLDER
# With 80 classes 21.42 M parameters, 21.26 M of them trained; attention: 5,760 at 8 sites.
_base_ = '../retinanet/retinanet_r18_fpn_folder.py'

model = dict(
    type='mmattn.WithAttention',
    detector='RetinaNet',
    insert=[dict(at='backbone.layer[1-4].*.residual', block=dict(type='mmattn.GCT'))],
)
