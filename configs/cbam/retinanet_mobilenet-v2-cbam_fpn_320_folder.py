#   python tools/train.py configs/cbam/retinanet_mobilenet-v2-cbam_fpn_320_folder.py --data-root FOLDER
# With 80 classes 3.80 M parameters, 3.80 M of them trained; attention: 12,212 at 9 sites.
_base_ = '../retinanet/retinanet_mobilenet-v2_fpn_320_folder.py'

model = dict(
    type='mmattn.WithAttention',
    detector='RetinaNet',
    # in the stages that train
    insert=[dict(at='backbone.layer[3-7].*.residual', block=dict(type='mmattn.CBAM', start='identity'))],
)
