# Do gates know which channels a detector can spare? One detector, three rankings, fine-tuned alike.
#   python tools/make_shapes.py
#   python tools/train.py configs/shapes/faster-rcnn_r18-se_fpn_shapes.py
#   for rank in gates magnitude random; do python tools/prune.py \
#     configs/shapes/faster-rcnn_r18-se_fpn_shapes.py work_dirs/faster-rcnn_r18-se_fpn_shapes/iter_1000.pth \
#     work_dirs/pruned/shapes_0.8/$rank --rank $rank --params 0.8 --shape 128 128 \
#     --ignore 'backbone.layer*.*.conv1' neck rpn_head roi_head; done
#   python tools/study.py run configs/studies/pruning_shapes.py --work-dir work_dirs/pruning_shapes_0.8
# What --ignore names is gated by no block, so that all three would rank it alike.
# MMATTN_PRUNED names another folder of pruned detectors: that of another target.
pruned = '{{$MMATTN_PRUNED:../../work_dirs/pruned/shapes_0.8}}'
config = 'faster-rcnn_r18-se_fpn_shapes_pruned.py'

base = f'{pruned}/magnitude/{config}'
variants = dict(
    magnitude=dict(base=f'{pruned}/magnitude/{config}'),
    gates=dict(base=f'{pruned}/gates/{config}'),
    random=dict(base=f'{pruned}/random/{config}'),
)
control = 'magnitude'
controls = []
seeds = [0, 1, 2, 3, 4]
budget = dict(max_iters=200)
settings = dict(
    train_cfg=dict(val_interval=200),
    optim_wrapper=dict(optimizer=dict(lr=3e-4)),
    param_scheduler=[
        dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=20),
        dict(type='CosineAnnealingLR', by_epoch=False, begin=20, end=200, T_max=180, eta_min=1e-5),
    ],
    default_hooks=dict(checkpoint=dict(interval=100)),
)
metrics = ['AP', 'AP50', 'AP75', 'AP_s', 'AP_m', 'AP_l', 'AR@100']
