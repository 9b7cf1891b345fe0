# Does a detector learn from one with attention what it does not learn alone? And the reverse?
#   python tools/make_shapes.py
#   python tools/train.py configs/shapes/gfl_r18_fpn_shapes.py         # the teachers
#   python tools/train.py configs/shapes/gfl_r18-cbam_fpn_shapes.py
#   python tools/study.py run configs/studies/distillation_shapes.py
base = '../shapes/gfl_r18_fpn_shapes.py'
seeds = [0, 1, 2, 3, 4]
controls = ['plain']

variants = dict(
    cbam=dict(base='../shapes/gfl_r18-cbam_fpn_shapes.py'),
    plain_by_cbam=dict(base='../ld/ld_r18-gflv1-r18-cbam_fpn_shapes.py'),
    cbam_by_plain=dict(base='../ld/ld_r18-cbam-gflv1-r18_fpn_shapes.py'),
    # what a teacher brings that has no attention either
    plain_by_plain=dict(base='../ld/ld_r18-gflv1-r18_fpn_shapes.py'),
)
settings = dict(
    train_cfg=dict(val_interval=1000),
    # a run that is killed loses at most a quarter
    default_hooks=dict(checkpoint=dict(interval=250)),
)
metrics = ['AP', 'AP50', 'AP75', 'AP_s', 'AP_m', 'AP_l', 'AR@100']
