#   bash tools/dist_train.sh configs/cbam/faster-rcnn_r50-cbam-in1k_fpn_1x_coco.py 8
# 44.29 M parameters, 44.06 M of them trained; attention: 2,532,592 at 16 sites.
# Its backbone learned ImageNet with the attention (configs/pretrain). MMATTN_PRETRAINED names another file.
_base_ = './faster-rcnn_r50-cbam_fpn_1x_coco.py'

model = dict(
    insert=[dict(at='backbone.layer[1-4].*.residual', block=dict(type='mmattn.CBAM'))],  # as in pretraining
    backbone=dict(
        init_cfg=dict(
            checkpoint=r'{{$MMATTN_PRETRAINED:work_dirs/resnet50-cbam_8xb32_in1k/epoch_100.pth}}',
            prefix='backbone.',
        )
    ),
)
weights_made_by = 'python tools/train.py configs/pretrain/resnet50-cbam_8xb32_in1k.py'
