# Does a detector learn from one with attention what it does not learn alone? And the reverse?
#   python tools/make_shapes.py
#   python tools/train.py configs/shapes/gfl_r18_fpn_shapes.py         # the teachers
#   python tools/train.py configs/shapes/gfl_r18-cbam_fpn_shapes.py
#   python tools/study.py run configs/studies/distillation_shapes.py
base = '../shapes/gfl_r18_fpn_shapes.py'
seeds = [0, 1, 2]
controls = ['plain']

variants = dict(
    cbam=dict(base='../shapes/gfl_r18-cbam_fpn_shapes.py'),
    plain_by_cbam=dict(base='../ld/ld_r18-gflv1-r18-cbam_fpn_shapes.py'),
    cbam_by_plain=dict(base='../ld/ld_r18-cbam-gflv1-r18_fpn_shapes.py'),
)
budget = dict(max_iters=200)
settings = dict(
    train_cfg=dict(val_interval=200),
    param_scheduler=[
        dict(type='LinearLR', start_factor=0.05, by_epoch=False, begin=0, end=50),
        dict(type='CosineAnnealingLR', by_epoch=False, begin=50, end=200, T_max=150, eta_min=1e-5),
    ],
    default_hooks=dict(checkpoint=dict(interval=100)),
)
metrics = ['AP', 'AP50', 'AP75', 'AP_s', 'AP_m', 'AP_l', 'AR@100']
