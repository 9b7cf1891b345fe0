#   python tools/train.py configs/triplet_attention/retinanet_r18-triplet_fpn_folder.py --data-root FOLDER
# With 80 classes 21.41 M parameters, 21.25 M of them trained; attention: 2,400 at 8 sites.
_base_ = '../retinanet/retinanet_r18_fpn_folder.py'

model = dict(
    type='mmattn.WithAttention',
    detector='RetinaNet',
    insert=[
        dict(
            at='backbone.layer[1-4].*.residual', block=dict(type='mmattn.TripletAttention', start='identity')
        )
    ],
)
