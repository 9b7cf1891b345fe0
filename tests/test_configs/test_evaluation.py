"""COCO evaluation as the configs run it gives the metrics that cocoapi gives, to the last digit."""

import json
from collections import defaultdict

import pytest
import torch
from mmdet.evaluation.metrics import coco_metric
from mmdet.registry import METRICS
from mmengine.structures import InstanceData

from mmattn.engine import load_config

# MMDetection's names for COCO's twelve metrics; its AR names are of its own default limits.
TWELVE = [
    'mAP',
    'mAP_50',
    'mAP_75',
    'mAP_s',
    'mAP_m',
    'mAP_l',
    'AR@100',
    'AR@300',
    'AR@1000',
    'AR_s@1000',
    'AR_m@1000',
    'AR_l@1000',
]


@pytest.mark.parametrize('iou_type', ['bbox', 'segm'])
def test_metrics_equal_cocoapi(iou_type, test_data, request, monkeypatch):
    folder = test_data / 'eval_fixtures' / 'cocoapi'
    detections = json.loads((folder / f'dt_fake{iou_type}100.json').read_text())
    expected = json.loads((folder / f'dt_fake{iou_type}100_{iou_type}_stats.json').read_text())['stats']
    made = []

    class Recorded(coco_metric.COCOeval):
        def __init__(self, *args):
            super().__init__(*args)
            made.append(self)

    monkeypatch.setattr(coco_metric, 'COCOeval', Recorded)
    cfg = load_config(
        str(request.config.rootpath / 'configs/cbam/faster-rcnn_r50-cbam_fpn_1x_coco.py'),
        cfg_options={
            'val_evaluator.ann_file': str(folder / 'gt_instances_val2014_100.json'),
            'val_evaluator.metric': iou_type,
            'val_evaluator.metric_items': TWELVE,
        },
    )
    metric = METRICS.build(cfg.val_evaluator)
    from mmdet.datasets import CocoDataset

    metric.dataset_meta = CocoDataset.METAINFO
    metric.process({}, data_samples(detections, metric._coco_api))
    metrics = metric.evaluate(size=len(metric.results))

    # 14 digits: the last two are numpy's order of summation
    assert list(made[0].stats) == pytest.approx(expected, rel=1e-14, abs=0)
    assert [metrics[f'coco/{iou_type}_{name}'] for name in TWELVE] == [round(x, 3) for x in expected]


def data_samples(detections, coco):
    """What a detector would hand over: a sample for each image, boxes as x1, y1, x2, y2."""
    labels = {id: i for i, id in enumerate(coco.get_cat_ids())}
    found = defaultdict(list)
    for detection in detections:
        found[detection['image_id']].append(detection)
    for image in coco.load_imgs(coco.get_img_ids()):
        mine = found[image['id']]
        # float64, so that not even the last digit of a box gets lost
        boxes = torch.tensor([d.get('bbox', [0, 0, 1, 1]) for d in mine], dtype=torch.float64)
        boxes = boxes.reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        predicted = InstanceData(
            bboxes=boxes,
            scores=torch.tensor([d['score'] for d in mine], dtype=torch.float64),
            labels=torch.tensor([labels[d['category_id']] for d in mine], dtype=torch.long),
        )
        if detections[0].get('segmentation'):
            predicted.masks = [d['segmentation'] for d in mine]
        yield dict(img_id=image['id'], ori_shape=(image['height'], image['width']), pred_instances=predicted)
