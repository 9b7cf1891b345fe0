# A teacher and a student of one kind, without attention: localization distillation,
# https://arxiv.org/abs/2102.12252. The control of the two others.
#   python tools/train.py configs/shapes/gfl_r18_fpn_shapes.py
#   export MMATTN_TEACHER=work_dirs/gfl_r18_fpn_shapes/iter_1000.pth
#   python tools/train.py configs/ld/ld_r18-gflv1-r18_fpn_shapes.py
# 3.17 M parameters, 3.17 M of them trained.
_base_ = '../shapes/gfl_r18_fpn_shapes.py'

model = dict(
    _delete_=True,
    type='KnowledgeDistillationSingleStageDetector',
    teacher_config=dict(model=_base_.model),
    teacher_ckpt='{{$MMATTN_TEACHER:work_dirs/gfl_r18_fpn_shapes/iter_1000.pth}}',
    data_preprocessor=_base_.model.data_preprocessor,
    backbone=_base_.model.backbone,
    neck=_base_.model.neck,
    bbox_head=dict(
        _base_.model.bbox_head,
        type='LDHead',
        loss_ld=dict(type='KnowledgeDistillationKLDivLoss', loss_weight=0.25, T=10),
    ),
    train_cfg=_base_.model.train_cfg,
    test_cfg=_base_.model.test_cfg,
)
weights_made_by = 'python tools/train.py configs/shapes/gfl_r18_fpn_shapes.py'
