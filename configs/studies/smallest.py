# The smallest honest study: CBAM against the plain detector, 3 seeds, on the data set of `make demo`.
#   python tools/make_shapes.py
#   python tools/study.py run configs/studies/smallest.py --workers 2
base = '../shapes/faster-rcnn_r18_fpn_shapes.py'
seeds = [0, 1, 2]
controls = ['plain']
variants = dict(
    cbam=dict(
        insert=[dict(at='backbone.layer[1-4].*.residual', block=dict(type='mmattn.CBAM', start='identity'))]
    )
)
max_iters = 500
budget = dict(max_iters=max_iters)
settings = dict(
    train_cfg=dict(val_interval=max_iters),
    default_hooks=dict(checkpoint=dict(interval=100)),
    param_scheduler=[
        dict(type='LinearLR', start_factor=0.05, by_epoch=False, begin=0, end=100),
        dict(type='CosineAnnealingLR', by_epoch=False, begin=100, end=max_iters, eta_min=1e-5),
    ],
)
