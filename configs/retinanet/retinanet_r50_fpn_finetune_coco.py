# The control for the fine-tuned attention configs: the released detector, trained further without attention.
#   bash tools/dist_train.sh configs/retinanet/retinanet_r50_fpn_finetune_coco.py 8
# 37.97 M parameters, 37.74 M of them trained.
_base_ = './retinanet_r50_fpn_1x_coco.py'

load_from = (
    'https://download.openmmlab.com/mmdetection/v2.0/retinanet/retinanet_r50_fpn_1x_coco/'
    'retinanet_r50_fpn_1x_coco_20200130-c2398f9e.pth'
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
    optimizer=dict(lr=0.001), paramwise_cfg=dict(custom_keys=dict(attention=dict(lr_mult=10.0)))
)
