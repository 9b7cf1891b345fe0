#   bash tools/dist_train.sh configs/retinanet/retinanet_r50_fpn_1x_coco.py 8
# 37.97 M parameters, 37.74 M of them trained.
_base_ = [
    'mmdet::_base_/models/retinanet_r50_fpn.py',
    '../_base_/datasets/coco_detection.py',
    'mmdet::_base_/schedules/schedule_1x.py',
    'mmdet::_base_/default_runtime.py',
    'mmdet::retinanet/retinanet_tta.py',
]

optim_wrapper = dict(optimizer=dict(lr=0.01))
