# Does a detector gain from a backbone that learned with its attention, if only on a few thousand crops?
#   python benchmarks/pretrain_chain.py FOLDER --crops OTHER_FOLDER ...
# makes the crops, trains their classifier, which MMATTN_PRETRAINED names, and runs the study on FOLDER.
base = '_base_/retinanet_r18-narrow_fpn_128_folder.py'
seeds = [0, 1, 2]
controls = []
control = 'scratch'

insert = [dict(at='backbone.layer[1-4].*.residual', block=dict(type='mmattn.CBAM'))]
init_cfg = dict(
    type='Pretrained',
    checkpoint=r'{{$MMATTN_PRETRAINED:work_dirs/pretrain_chain/classifier/epoch_5.pth}}',
    prefix='backbone.',
)
variants = dict(
    scratch=dict(insert=insert),
    pretrained=dict(insert=insert, model=dict(backbone=dict(init_cfg=init_cfg))),
)
metrics = ['AP', 'AP50', 'AP75', 'AP_m', 'AP_l', 'AR@100']
keep_detections = 'all'  # of each evaluation, for the curves
