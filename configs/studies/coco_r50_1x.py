# Faster R-CNN R50 1x on COCO: what do SE, ECA and CBAM bring? configs/studies/coco_r50_1x.sh runs it.
#   python tools/study.py run configs/studies/coco_r50_1x.py --data-root data/coco
base = '../faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'
seeds = [0, 1, 2]
controls = ['plain']

sites = 'backbone.layer[1-4].*.residual'
variants = dict(
    se=dict(insert=[dict(at=sites, block=dict(type='mmattn.SE', start='identity'))]),
    eca=dict(insert=[dict(at=sites, block=dict(type='mmattn.ECA', start='identity'))]),
    cbam=dict(insert=[dict(at=sites, block=dict(type='mmattn.CBAM', start='identity'))]),
)
# A run has one GPU, and the batch of 8 GPUs with 2 images each, for which the learning rate is made.
# With less memory, the same training (but for CBAM's norm, which sees 4 images at a time):
# --cfg-options settings.train_dataloader.batch_size=4 settings.optim_wrapper.accumulative_counts=4
settings = dict(
    train_dataloader=dict(batch_size=16, num_workers=8),
    optim_wrapper=dict(type='AmpOptimWrapper', loss_scale='dynamic'),
)
metrics = ['AP', 'AP50', 'AP75', 'AP_s', 'AP_m', 'AP_l', 'AR@100']
