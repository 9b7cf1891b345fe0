#   python tools/train.py configs/non_local/retinanet_r18-nl_fpn_folder.py --data-root FOLDER
# With 80 classes 21.54 M parameters, 21.38 M of them trained; attention: 131,712 at 1 site.
_base_ = '../retinanet/retinanet_r18_fpn_folder.py'

model = dict(
    type='mmattn.WithAttention',
    detector='RetinaNet',
    insert=[dict(at='backbone.layer3.0', block=dict(type='mmattn.NonLocal'))],
)
