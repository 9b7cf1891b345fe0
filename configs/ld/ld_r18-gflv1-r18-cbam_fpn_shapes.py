# A teacher with CBAM, a student without.
#   python tools/train.py configs/shapes/gfl_r18-cbam_fpn_shapes.py
#   export MMATTN_TEACHER=work_dirs/gfl_r18-cbam_fpn_shapes/iter_1000.pth
#   python tools/train.py configs/ld/ld_r18-gflv1-r18-cbam_fpn_shapes.py
# 3.17 M parameters, 3.17 M of them trained.
_base_ = './ld_r18-gflv1-r18_fpn_shapes.py'

model = dict(
    teacher_config=dict(
        model=dict(
            type='mmattn.WithAttention',
            detector='GFL',
            insert=[
                dict(at='backbone.layer[1-4].*.residual', block=dict(type='mmattn.CBAM', start='identity'))
            ],
        )
    ),
    teacher_ckpt='{{$MMATTN_TEACHER:work_dirs/gfl_r18-cbam_fpn_shapes/iter_1000.pth}}',
)
weights_made_by = 'python tools/train.py configs/shapes/gfl_r18-cbam_fpn_shapes.py'
