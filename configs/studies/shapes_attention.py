# What do SE, ECA and CBAM bring to a small Faster R-CNN that is trained from scratch? And the start?
#   python tools/make_shapes.py --out data/shapes_2000 --val 2000
#   python tools/study.py run configs/studies/shapes_attention.py --data-root data/shapes_2000
base = '../shapes/faster-rcnn_r18_fpn_shapes.py'
seeds = [0, 1, 2, 3, 4]
controls = ['plain', 'static_gate', dict(type='capacity', of='se_identity')]  # as many parameters as SE

sites = 'backbone.layer[1-4].*.residual'
variants = dict(
    se_paper=dict(insert=[dict(at=sites, block=dict(type='mmattn.SE', start='paper'))]),
    se_identity=dict(insert=[dict(at=sites, block=dict(type='mmattn.SE', start='identity'))]),
    eca_paper=dict(insert=[dict(at=sites, block=dict(type='mmattn.ECA', start='paper'))]),
    eca_identity=dict(insert=[dict(at=sites, block=dict(type='mmattn.ECA', start='identity'))]),
    cbam_paper=dict(insert=[dict(at=sites, block=dict(type='mmattn.CBAM', start='paper'))]),
    cbam_identity=dict(insert=[dict(at=sites, block=dict(type='mmattn.CBAM', start='identity'))]),
)
settings = dict(
    train_cfg=dict(val_interval=500),
    # a run that is killed loses at most a quarter
    default_hooks=dict(checkpoint=dict(interval=250)),
)
metrics = ['AP', 'AP50', 'AP75', 'AP_s', 'AP_m', 'AP_l', 'AR@100']
