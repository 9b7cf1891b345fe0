# "I added CBAM to my pretrained detector and lost mAP." Does a fresh block hurt, how much, for how long,
# and does the identity start mend it?
#   export MMATTN_PRETRAINED=mobilenet_v2_in1k.pth
#   python tools/study.py run configs/studies/pretrained_start.py --data-root FOLDER
# FOLDER as for configs/_base_/datasets/coco_folder.py. A second data set takes a second
# --work-dir, such as work_dirs/pretrained_start_bccd.
base = '_base_/retinanet_mobilenet-v2_fpn_320_folder.py'
seeds = [0, 1, 2, 3, 4]
controls = ['plain', dict(type='capacity', of='se_identity')]  # has exactly as many parameters as SE

sites = 'backbone.layer[3-7].*.residual'  # those of the stages that train
variants = dict(
    cbam_paper=dict(insert=[dict(at=sites, block=dict(type='mmattn.CBAM', start='paper'))]),
    cbam_identity=dict(insert=[dict(at=sites, block=dict(type='mmattn.CBAM', start='identity'))]),
    se_paper=dict(insert=[dict(at=sites, block=dict(type='mmattn.SE', start='paper'))]),
    se_identity=dict(insert=[dict(at=sites, block=dict(type='mmattn.SE', start='identity'))]),
)
metrics = ['AP', 'AP50', 'AP75', 'AP_s', 'AP_m', 'AP_l', 'AR@100']
keep_detections = 'all'  # of each evaluation, for the curves
