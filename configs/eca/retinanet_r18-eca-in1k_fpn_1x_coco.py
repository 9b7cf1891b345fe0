#   bash tools/dist_train.sh configs/eca/retinanet_r18-eca-in1k_fpn_1x_coco.py 8
# 21.41 M parameters, 21.25 M of them trained; attention: 36 at 8 sites.
# Its backbone learned ImageNet with the attention (configs/pretrain). MMATTN_PRETRAINED names another file.
_base_ = './retinanet_r18-eca_fpn_1x_coco.py'

model = dict(
    insert=[dict(at='backbone.layer[1-4].*.residual', block=dict(type='mmattn.ECA'))],  # as in pretraining
    backbone=dict(
        init_cfg=dict(
            checkpoint=r'{{$MMATTN_PRETRAINED:work_dirs/resnet18-eca_8xb32_in1k/epoch_100.pth}}',
            prefix='backbone.',
        )
    ),
)
weights_made_by = 'python tools/train.py configs/pretrain/resnet18-eca_8xb32_in1k.py'
