"""A data set so easy that a detector learns it in a minute, options that keep it small, a run's metrics."""

import json

import cv2
import numpy as np
import torch

CLASSES = ('bright', 'dark')
SIZE = 96


def write_squares(root, train=16, val=8):
    """Write squares, brighter or darker than the noise around them, in COCO format to ``root``."""
    random = np.random.default_rng(0)
    (root / 'images').mkdir(parents=True)
    (root / 'annotations').mkdir()
    for part, count in dict(train=train, val=val).items():
        images, annotations = [], []
        for i in range(count):
            image = random.integers(100, 150, (SIZE, SIZE, 3), dtype=np.uint8)
            for category in range(2):
                side = int(random.integers(30, 44))
                x, y = (int(v) for v in random.integers(0, SIZE - side, 2) // (1, 2))
                x, y = (x // 2 + (SIZE - side) // 2 * category, y)
                image[y : y + side, x : x + side] = 230 if category == 0 else 20
                annotations.append(
                    dict(
                        id=len(annotations) + 1,
                        image_id=i + 1,
                        category_id=category + 1,
                        iscrowd=0,
                        bbox=[x, y, side, side],
                        area=side * side,
                    )
                )
            name = f'{part}_{i}.png'
            cv2.imwrite(str(root / 'images' / name), image)
            images.append(dict(id=i + 1, file_name=name, width=SIZE, height=SIZE))
        categories = [dict(id=i + 1, name=name) for i, name in enumerate(CLASSES)]
        (root / 'annotations' / f'{part}.json').write_text(
            json.dumps(dict(images=images, annotations=annotations, categories=categories))
        )
    return root


def small(**more):
    """Options for a ``retinanet_r18-*_fpn_folder.py`` config: from scratch, narrow, few pixels."""
    options = {
        'model.backbone.init_cfg': None,
        'model.backbone.frozen_stages': -1,
        'model.backbone.norm_eval': False,
        'model.neck.out_channels': 32,
        'model.bbox_head.in_channels': 32,
        'model.bbox_head.feat_channels': 32,
        'model.bbox_head.stacked_convs': 1,
        'train_dataloader.dataset.pipeline.2.scale': (SIZE, SIZE),
        'default_hooks.logger.interval': 1,
        'param_scheduler': [],
        'optim_wrapper.optimizer.lr': 0.001,
        'randomness.seed': 0,
    }
    for part in ('train', 'val', 'test'):
        options[f'{part}_dataloader.num_workers'] = 0
        options[f'{part}_dataloader.persistent_workers'] = False
        if part != 'train':
            options[f'{part}_dataloader.dataset.pipeline.1.scale'] = (SIZE, SIZE)
    options.update({key.replace('__', '.'): value for key, value in more.items()})
    return options


def as_arguments(options):
    """The same options for a command line."""
    return ['--cfg-options', *(f'{key}={str(value).replace(" ", "")}' for key, value in options.items())]


def metrics_of(runner):
    """COCO's metrics of a run's last evaluation, by the names that ``engine.test`` has for them."""
    scalars = runner.message_hub.log_scalars
    return {key.removeprefix('val/'): scalars[key].current() for key in scalars if 'bbox_mAP' in key}


def write_detectors(folder, squares, configs):
    """Write configs and untrained checkpoints of narrow detectors of the squares: detector, other, stock."""
    from mmattn.engine import build_model, load_config

    options = small(
        model__backbone__base_channels=8,
        model__neck__in_channels=[8, 16, 32, 64],
        model__test_cfg__score_thr=0.0,
        model__test_cfg__max_per_img=5,
    )
    for name, config in dict(
        detector='cbam/retinanet_r18-cbam_fpn_folder.py',
        other='se/retinanet_r18-se_fpn_folder.py',
        stock='retinanet/retinanet_r18_fpn_folder.py',
    ).items():
        load_config(str(configs / config), str(squares), options).dump(folder / f'{name}.py')
        torch.manual_seed(0)
        state = build_model(str(folder / f'{name}.py')).state_dict()
        checkpoint = dict(state_dict=state, meta=dict(dataset_meta=dict(classes=CLASSES)))
        torch.save(checkpoint, folder / f'{name}.pth')
    return folder
