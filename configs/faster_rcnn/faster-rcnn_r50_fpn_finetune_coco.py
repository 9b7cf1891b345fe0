# The control for the fine-tuned attention configs: the released detector, trained further without attention.
#   bash tools/dist_train.sh configs/faster_rcnn/faster-rcnn_r50_fpn_finetune_coco.py 8
# 41.75 M parameters, 41.53 M of them trained.
_base_ = './faster-rcnn_r50_fpn_1x_coco.py'

load_from = (
    'https://download.openmmlab.com/mmdetection/v2.0/faster_rcnn/faster_rcnn_r50_fpn_1x_coco/'
    'faster_rcnn_r50_fpn_1x_coco_20200130-047c8118.pth'
)
model = dict(backbone=dict(init_cfg=None))  # load_from has all weights

# A tenth of the detector's original learning rate and a third of its epochs.
train_cfg = dict(max_epochs=4)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=500),
    dict(type='MultiStepLR', begin=0, end=4, by_epoch=True, milestones=[3], gamma=0.1),
]
# Attention is new, so it learns at the full rate.
optim_wrapper = dict(
    optimizer=dict(lr=0.002), paramwise_cfg=dict(custom_keys=dict(attention=dict(lr_mult=10.0)))
)
