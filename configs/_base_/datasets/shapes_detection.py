# The generated data set "shapes"; `python tools/make_shapes.py` writes it. MMATTN_DATA_ROOT sets the folder.
# The network sees the images at half size. Boxes are evaluated at full size, so that COCO's limits between
# small, medium and large apply unchanged.
dataset_type = 'CocoDataset'
data_root = r'{{$MMATTN_DATA_ROOT:data/shapes}}'.rstrip('/') + '/'
# the command that the check before training suggests if the data is missing
data_made_by = 'python tools/make_shapes.py --out {data_root}'
backend_args = None
metainfo = dict(
    classes=(
        'striped circle',
        'dotted circle',
        'striped cross',
        'dotted cross',
        'striped triangle',
        'dotted triangle',
    ),
    palette=[(220, 20, 60), (30, 110, 220), (250, 150, 20), (30, 160, 60), (150, 60, 200), (0, 160, 170)],
)

train_pipeline = [
    # an unreadable or truncated image is an error that names the file
    dict(type='mmattn.LoadImageFromFile', backend_args=backend_args),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=(128, 128), keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile', backend_args=backend_args),
    dict(type='Resize', scale=(128, 128), keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
train_dataloader = dict(
    batch_size=4,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        metainfo=metainfo,
        ann_file='annotations/train.json',
        data_prefix=dict(img='images/'),
        filter_cfg=dict(filter_empty_gt=False),
        pipeline=train_pipeline,
        backend_args=backend_args,
    ),
)
val_dataloader = dict(
    batch_size=8,
    num_workers=1,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        metainfo=metainfo,
        ann_file='annotations/val.json',
        data_prefix=dict(img='images/'),
        test_mode=True,
        pipeline=test_pipeline,
        backend_args=backend_args,
    ),
)
test_dataloader = val_dataloader

# proposal_nums makes the log show all twelve COCO metrics, including AR1 and AR10
val_evaluator = dict(
    type='CocoMetric',
    ann_file=data_root + 'annotations/val.json',
    metric='bbox',
    format_only=False,
    proposal_nums=(1, 10, 100),
    backend_args=backend_args,
)
test_evaluator = val_evaluator
