# The beginning of pretrained_start.py, with CBAM alone: what does a fresh block cost in the first epochs?
#   export MMATTN_PRETRAINED=mobilenet_v2_in1k.pth
#   python tools/study.py run configs/studies/pretrained_start_early.py --data-root FOLDER
base = '_base_/retinanet_mobilenet-v2_fpn_320_folder.py'
seeds = [0, 1, 2, 3]
controls = ['plain']

sites = 'backbone.layer[3-7].*.residual'  # those of the stages that train
variants = dict(
    cbam_paper=dict(insert=[dict(at=sites, block=dict(type='mmattn.CBAM', start='paper'))]),
    cbam_identity=dict(insert=[dict(at=sites, block=dict(type='mmattn.CBAM', start='identity'))]),
)
budget = dict(max_epochs=3)
settings = dict(
    # the learning rate of the first epochs, which a longer training lowers only later
    param_scheduler=[dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50)],
)
metrics = ['AP', 'AP50', 'AP75', 'AP_s', 'AP_m', 'AP_l', 'AR@100']
keep_detections = 'all'  # of each evaluation, for the curves
