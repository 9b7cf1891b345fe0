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
settings = dict(train_cfg=dict(val_interval=500), default_hooks=dict(checkpoint=dict(interval=250)))
