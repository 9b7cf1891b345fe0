"""A small data set in COCO format, and what exporters make of it."""

import json

import cv2
import numpy as np
from mmengine.config import Config

CLASSES = ('nut', 'bolt', 'washer')
SIZES = ((64, 48), (48, 80), (70, 50), (90, 60), (56, 72), (60, 44))


def content(part):
    """The annotations of six images, each with a box of two classes."""
    random = np.random.default_rng(part == 'val')
    images, annotations = [], []
    for i, (width, height) in enumerate(SIZES):
        images.append(dict(id=i + 1, file_name=f'{part}_{i}.jpg', width=width, height=height))
        for k in range(2):
            w, h = (int(v) for v in random.integers(8, 20, 2))
            x, y = int(random.integers(20, width - w)), int(random.integers(16, height - h))
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=i + 1,
                    category_id=(i + k) % 3 + 1,
                    bbox=[x, y, w, h],
                    area=w * h,
                    iscrowd=0,
                )
            )
    categories = [dict(id=i + 1, name=name) for i, name in enumerate(CLASSES)]
    return dict(images=images, annotations=annotations, categories=categories)


def write_image(path, width, height):
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8))


def write_set(root):
    """Write images and annotations to a folder; return the config that reads them."""
    (root / 'images').mkdir(parents=True)
    (root / 'annotations').mkdir()
    for part in ('train', 'val'):
        whole = content(part)
        for image in whole['images']:
            write_image(root / 'images' / image['file_name'], image['width'], image['height'])
        write_json(root, whole, part)
    return config(root)


def write_json(root, whole, part='train'):
    (root / 'annotations' / f'{part}.json').write_text(json.dumps(whole), encoding='utf-8')


def edit(root, change, part='train'):
    file = root / 'annotations' / f'{part}.json'
    whole = json.loads(file.read_text(encoding='utf-8'))
    change(whole)
    write_json(root, whole, part)


def config(root):
    def loader(part):
        return dict(
            dataset=dict(
                type='CocoDataset',
                data_root=f'{root}/',
                ann_file=f'annotations/{part}.json',
                data_prefix=dict(img='images/'),
                metainfo=dict(classes=CLASSES),
                test_mode=part != 'train',
                pipeline=[
                    dict(type='mmattn.LoadImageFromFile'),
                    dict(type='LoadAnnotations', with_bbox=True),
                    dict(type='PackDetInputs'),
                ],
            )
        )

    return Config(
        dict(
            train_dataloader=loader('train'),
            val_dataloader=loader('val'),
            val_evaluator=dict(type='CocoMetric', ann_file=f'{root}/annotations/val.json'),
            model=dict(type='RetinaNet', bbox_head=dict(num_classes=len(CLASSES))),
            work_dir=str(root / 'work'),
        )
    )


def loaded(cfg, part='train'):
    """What MMDetection loads: files with sizes, boxes and labels, in any order."""
    from mmdet.registry import DATASETS

    dataset = DATASETS.build(cfg[f'{part}_dataloader'].dataset)
    return sorted(
        (
            info['img_path'].rpartition('/')[2],
            (info['width'], info['height']),
            sorted((each['bbox'], each['bbox_label'], each['ignore_flag']) for each in info['instances']),
        )
        for info in (dataset.get_data_info(i) for i in range(len(dataset)))
    )
