#   python tools/train.py configs/bam/retinanet_r18-bam_fpn_folder.py --data-root FOLDER
# With 80 classes 21.43 M parameters, 21.28 M of them trained; attention: 22,991 at 3 sites.
_base_ = '../retinanet/retinanet_r18_fpn_folder.py'

model = dict(
    type='mmattn.WithAttention',
    detector='RetinaNet',
    insert=[dict(at='backbone.stage[1-3]', block=dict(type='mmattn.BAM', start='identity'))],
)
