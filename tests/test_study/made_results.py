"""Random annotations and detections that have everything that makes COCO's evaluation difficult."""

import json

import numpy as np
from pycocotools import mask as coco_mask

SIDE = 200


def made_ground_truth(images=40, classes=6, objects=150, seed=0):
    """Crowds, images without objects, the last class without objects, objects of all sizes, id 0 unused."""
    random = np.random.default_rng(seed)
    annotations = []
    for number in range(objects):
        size = np.exp(random.uniform(np.log(4), np.log(150), 2))
        box = [*(random.uniform(0, 1, 2) * (SIDE - size)), *size]
        crowd = random.random() < 0.1
        ring = _ellipse(box)
        segmentation = _run_lengths(ring) if crowd else [ring]
        annotations.append(
            dict(
                id=number + 1,
                image_id=int(random.integers(0, images * 4 // 5)) * 3 + 7,
                category_id=int(random.integers(0, classes - 1)) * 2 + 1,
                bbox=[round(float(value), 2) for value in box],
                area=round(float(box[2] * box[3] * np.pi / 4), 2),
                iscrowd=int(crowd),
                segmentation=segmentation,
            )
        )
    return dict(
        images=[
            dict(id=number * 3 + 7, file_name=f'folder/{number * 5:06}.jpg', height=SIDE, width=SIDE)
            for number in range(images)
        ],
        categories=[dict(id=number * 2 + 1, name=f'class {number}') for number in range(classes)],
        annotations=annotations,
    )


def made_detections(truth, number=600, seed=1, masks=False, noise=0.08, many=True):
    """Good, shifted and wrong detections, equal scores, and over 100 of a class in an image."""
    random = np.random.default_rng(seed)
    image_ids = [image['id'] for image in truth['images']]
    category_ids = [category['id'] for category in truth['categories']]
    detections = []
    for _ in range(number):
        model = truth['annotations'][random.integers(len(truth['annotations']))]
        x, y, w, h = _shifted(model['bbox'], noise, random)
        image, category = model['image_id'], model['category_id']
        if random.random() < 0.3:
            x, y = random.uniform(0, 100, 2)
        if random.random() < 0.2:
            category = random.choice(category_ids)
        if random.random() < 0.1:
            image = random.choice(image_ids)
        detections.append(_detection(image, category, (x, y, w, h), random.integers(0, 20) / 20, masks))
    if many:
        model = truth['annotations'][0]
        for _ in range(130):
            box = _shifted(model['bbox'], noise, random)
            score = random.integers(0, 40) / 40
            detections.append(_detection(model['image_id'], model['category_id'], box, score, masks))
    return detections


def _shifted(box, noise, random):
    x, y, w, h = box
    shift_x, shift_y = random.normal(0, noise, 2)
    return x + shift_x * w, y + shift_y * h, *np.array([w, h]) * np.exp(random.normal(0, noise, 2))


def _detection(image, category, box, score, masks):
    box = [round(float(min(max(value, 0.5), SIDE)), 2) for value in box]
    detection = dict(image_id=int(image), category_id=int(category), bbox=box, score=float(score))
    if masks:
        rle = coco_mask.merge(coco_mask.frPyObjects([_ellipse(box)], SIDE, SIDE))
        detection['segmentation'] = dict(size=[SIDE, SIDE], counts=rle['counts'].decode())
    return detection


def _ellipse(box):
    x, y, w, h = box
    angles = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    points = np.stack([x + w / 2 * (1 + np.cos(angles)), y + h / 2 * (1 + np.sin(angles))], axis=1)
    return [round(float(value), 2) for value in points.ravel()]


def _run_lengths(ring):
    mask = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects([ring], SIDE, SIDE)))
    flat = mask.ravel(order='F')
    edges = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff([0, *edges, flat.size]).tolist()
    return dict(size=[SIDE, SIDE], counts=[0, *counts] if flat[0] else counts)


def write(path, content):
    """Write JSON; return the path."""
    path.write_text(json.dumps(content))
    return path
