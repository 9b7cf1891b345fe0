"""A folder that looks like COCO 2017 to a config, of as many images as one wants: one image by many names."""

import json
import os
import shutil

import cv2
import numpy as np
from mmdet.datasets import CocoDataset

WIDTH, HEIGHT = 640, 480


def write_coco(root, train, val, empty=0):
    """Write ``annotations/instances_{train,val}2017.json`` and the images that they name.

    Args:
        root: The folder, which exists.
        train: Number of images to train on, each with a box.
        val: Number of images of the evaluation.
        empty: Number of images without boxes among those to train on, which COCO's configs leave out.
    """
    image = np.random.default_rng(0).integers(0, 256, (HEIGHT // 16, WIDTH // 16, 3), dtype=np.uint8)
    cv2.imwrite(str(root / 'image.jpg'), cv2.resize(image, (WIDTH, HEIGHT)))
    (root / 'annotations').mkdir()
    categories = [dict(id=i, name=name) for i, name in enumerate(CocoDataset.METAINFO['classes'], 1)]
    for part, count, without in (('train', train, empty), ('val', val, 0)):
        folder = root / f'{part}2017'
        folder.mkdir()
        images, annotations = [], []
        for i in range(1, count + 1):
            images.append(dict(id=i, file_name=f'{i:012}.jpg', width=WIDTH, height=HEIGHT))
            try:
                os.link(root / 'image.jpg', folder / f'{i:012}.jpg')
            except OSError:  # a file system has so many names for one file
                shutil.copy(root / 'image.jpg', root / 'again.jpg')
                os.replace(root / 'again.jpg', root / 'image.jpg')
                os.link(root / 'image.jpg', folder / f'{i:012}.jpg')
            if i > without:
                box = [20 + 10 * (i % 20), 30 + 5 * (i % 40), 100, 150]
                annotations.append(
                    dict(
                        id=i,
                        image_id=i,
                        category_id=i % 80 + 1,
                        bbox=box,
                        area=box[2] * box[3],
                        iscrowd=0,
                    )
                )
        text = json.dumps(dict(images=images, annotations=annotations, categories=categories))
        (root / 'annotations' / f'instances_{part}2017.json').write_text(text)
    return root
