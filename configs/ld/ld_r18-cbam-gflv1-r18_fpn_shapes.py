# A teacher without attention, a student with CBAM.
#   python tools/train.py configs/shapes/gfl_r18_fpn_shapes.py
#   export MMATTN_TEACHER=work_dirs/gfl_r18_fpn_shapes/iter_1000.pth
#   python tools/train.py configs/ld/ld_r18-cbam-gflv1-r18_fpn_shapes.py
# 3.19 M parameters, 3.19 M of them trained; attention: 23,580 at 8 sites.
_base_ = './ld_r18-gflv1-r18_fpn_shapes.py'

model = dict(
    type='mmattn.WithAttention',
    detector='KnowledgeDistillationSingleStageDetector',
    insert=[dict(at='backbone.layer[1-4].*.residual', block=dict(type='mmattn.CBAM', start='identity'))],
)
