# Any folder of images with COCO-format annotations:
#   ROOT/images/   ROOT/annotations/train.json   ROOT/annotations/val.json
# MMATTN_DATA_ROOT or --data-root sets ROOT; train.json names the classes.
_base_ = './coco_detection.py'

# Below _base_, since MMEngine takes a config that imports before it for a lazy one.
from mmattn.engine import read_classes  # noqa: E402

data_root = r'{{$MMATTN_DATA_ROOT:data/folder}}'.rstrip('/') + '/'
classes = read_classes(data_root + 'annotations/train.json')
num_classes = len(classes)
metainfo = dict(classes=classes, palette=None)  # random colours, because COCO's palette is for 80 classes

scale = (640, 640)
train_pipeline = [
    dict(type='mmattn.LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=scale, keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=scale, keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
train_dataloader = dict(
    batch_size=4,
    dataset=dict(
        metainfo=metainfo,
        data_root=data_root,
        ann_file='annotations/train.json',
        data_prefix=dict(img='images/'),
        # keep images without objects: they show what is background
        filter_cfg=dict(filter_empty_gt=False, min_size=1),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    dataset=dict(
        metainfo=metainfo,
        data_root=data_root,
        ann_file='annotations/val.json',
        data_prefix=dict(img='images/'),
        pipeline=test_pipeline,
    )
)
test_dataloader = val_dataloader

val_evaluator = dict(ann_file=data_root + 'annotations/val.json')
test_evaluator = val_evaluator
