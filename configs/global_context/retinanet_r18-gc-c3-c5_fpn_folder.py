#   python tools/train.py configs/global_context/retinanet_r18-gc-c3-c5_fpn_folder.py --data-root FOLDER
# With 80 classes 21.50 M parameters, 21.34 M of them trained; attention: 89,942 at 6 sites.
_base_ = '../retinanet/retinanet_r18_fpn_folder.py'

model = dict(
    type='mmattn.WithAttention',
    detector='RetinaNet',
    insert=[dict(at='backbone.layer[2-4].*.residual', block=dict(type='mmattn.GlobalContext'))],
)
