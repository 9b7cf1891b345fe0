# RetinaNet R50 1x on COCO: what do SE, ECA and CBAM bring? configs/studies/coco_r50_1x.sh runs it.
#   python tools/study.py run configs/studies/coco_retinanet_r50_1x.py --data-root data/coco
_base_ = './coco_r50_1x.py'

base = '../retinanet/retinanet_r50_fpn_1x_coco.py'
