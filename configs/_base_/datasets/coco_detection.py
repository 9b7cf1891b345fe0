# COCO 2017. MMATTN_DATA_ROOT or --data-root sets the folder (default: data/coco).
# It contains annotations/instances_{train,val}2017.json, train2017/ and val2017/.
_base_ = 'mmdet::_base_/datasets/coco_detection.py'

data_root = r'{{$MMATTN_DATA_ROOT:data/coco}}'.rstrip('/') + '/'

train_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        # mmdet's pipeline, except that an unreadable or truncated image is an error that names the file
        pipeline=[dict(type='mmattn.LoadImageFromFile'), *_base_.train_pipeline[1:]],
    )
)
val_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = val_dataloader

# proposal_nums makes the log show all twelve COCO metrics, including AR1 and AR10
val_evaluator = dict(ann_file=data_root + 'annotations/instances_val2017.json', proposal_nums=(1, 10, 100))
test_evaluator = val_evaluator
