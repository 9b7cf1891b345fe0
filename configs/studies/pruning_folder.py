# The question of pruning_shapes.py for a pretrained detector, on real images.
#   export MMATTN_PRETRAINED=mobilenet_v2_in1k.pth
#   config=configs/studies/_base_/retinanet_mobilenet-v2-se_fpn_320_folder.py
#   python tools/train.py $config --data-root FOLDER --work-dir work_dirs/pruned/trained
#   for rank in gates magnitude random; do python tools/prune.py \
#     $config work_dirs/pruned/trained/epoch_12.pth work_dirs/pruned/folder_0.9/$rank --data-root FOLDER \
#     --rank $rank --ops 0.9 --shape 320 320 \
#     --ignore 'backbone.layer[12].**' 'backbone.layer*.*.linear_conv' 'backbone.conv*' neck bbox_head; done
#   python tools/study.py run configs/studies/pruning_folder.py --data-root FOLDER
# FOLDER as for configs/_base_/datasets/coco_folder.py. What --ignore names is gated by no block, so that
# all three would rank it alike. MMATTN_PRUNED names the folder of another target.
pruned = '{{$MMATTN_PRUNED:../../work_dirs/pruned/folder_0.9}}'
config = 'retinanet_mobilenet-v2-se_fpn_320_folder_pruned.py'

base = f'{pruned}/magnitude/{config}'
variants = dict(
    magnitude=dict(base=f'{pruned}/magnitude/{config}'),
    gates=dict(base=f'{pruned}/gates/{config}'),
    random=dict(base=f'{pruned}/random/{config}'),
)
control = 'magnitude'
controls = []
seeds = [0, 1, 2, 3, 4]
budget = dict(max_epochs=1)
settings = dict(
    optim_wrapper=dict(optimizer=dict(lr=0.0002)),
    param_scheduler=[
        dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=20),
        dict(type='CosineAnnealingLR', by_epoch=True, begin=0, end=1, convert_to_iter_based=True),
    ],
)
metrics = ['AP', 'AP50', 'AP75', 'AP_s', 'AP_m', 'AP_l', 'AR@100']
