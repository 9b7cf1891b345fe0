# The same by iterations.
_base_ = './shaky_config.py'

train_cfg = dict(type='IterBasedTrainLoop', max_iters=11, val_interval=5, _delete_=True)
param_scheduler = [dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=6)]
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=3, save_best='coco/bbox_mAP_50'))
