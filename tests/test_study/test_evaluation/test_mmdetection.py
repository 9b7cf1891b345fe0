"""The files that MMDetection's CocoMetric writes give the metrics that it reports."""

import numpy as np
import pytest
import torch
from mmdet.evaluation import CocoMetric
from pycocotools import mask as coco_mask

from mmattn.study.evaluation import EvaluationSettings, evaluate_run
from tests.test_study.made_results import SIDE, made_detections, made_ground_truth, write

TRUTH = made_ground_truth(images=12, objects=50)
NAMES = dict(mAP='AP', mAP_50='AP50', mAP_75='AP75', mAP_s='AP_s', mAP_m='AP_m', mAP_l='AP_l')


@pytest.fixture(scope='module')
def reported(tmp_path_factory):
    """What CocoMetric reports, and the folder with its files."""
    folder = tmp_path_factory.mktemp('mmdetection')
    metric = CocoMetric(
        ann_file=str(write(folder / 'ann.json', TRUTH)),
        metric=['bbox', 'segm'],
        outfile_prefix=str(folder / 'results'),
        classwise=True,
    )
    metric.dataset_meta = dict(classes=tuple(category['name'] for category in TRUTH['categories']))
    detections = made_detections(TRUTH, 200, many=False, masks=True)
    for image in TRUTH['images']:
        found = [each for each in detections if each['image_id'] == image['id']]
        boxes = torch.tensor([each['bbox'] for each in found]).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        masks = [coco_mask.decode(each['segmentation']) for each in found]
        sample = dict(
            img_id=image['id'],
            ori_shape=(SIDE, SIDE),
            pred_instances=dict(
                bboxes=boxes,
                scores=torch.tensor([each['score'] for each in found]),
                labels=torch.tensor([each['category_id'] // 2 for each in found], dtype=torch.long),
                masks=torch.from_numpy(np.array(masks, dtype=bool).reshape(-1, SIDE, SIDE)),
            ),
        )
        metric.process({}, [sample])
    return metric.evaluate(len(TRUTH['images'])), folder


@pytest.mark.parametrize('iou_type', ['bbox', 'segm'])
def test_its_metrics(iou_type, reported):
    metrics, folder = reported
    settings = EvaluationSettings(str(folder / 'ann.json'), iou_type, parts=('summary', 'classes'))
    found = evaluate_run(folder / f'results.{iou_type}.json', settings)
    for name, ours in NAMES.items():  # MMDetection rounds to three digits
        assert found.arrays[ours][0] == pytest.approx(metrics[f'coco/{iou_type}_{name}'], abs=0.00051)
    for number in range(5):
        of_class = metrics[f'coco/{f"class {number}"}_precision']
        if iou_type == 'segm':  # the second overwrites the first
            assert found.arrays[f'AP/class {number}'][0] == pytest.approx(of_class, abs=0.00051)
    assert found.notes == ()
