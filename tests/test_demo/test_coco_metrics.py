"""The metrics equal those of COCO's code, and are None if there is nothing to measure."""

import json

import pytest

from mmattn.demo.coco_metrics import NAMES, coco_metrics, metrics_table, write_metrics


def box(image, category, corners, **more):
    x, y, w, h = corners
    return dict(image_id=image, category_id=category, bbox=[x, y, w, h], **more)


@pytest.fixture
def files(tmp_path):
    """Two images, a small and a medium object; the detector finds one well and one badly."""
    objects = [box(1, 1, (10, 10, 20, 20)), box(2, 1, (50, 50, 40, 40))]
    truth = dict(
        info={},
        images=[dict(id=number, width=128, height=128, file_name=f'{number}.png') for number in (1, 2)],
        categories=[dict(id=1, name='thing')],
        annotations=[
            dict(id=number, iscrowd=0, area=item['bbox'][2] * item['bbox'][3], **item)
            for number, item in enumerate(objects, start=1)
        ],
    )
    # IoU 1 for the first; 40 * 28 / (40 * 40) = 0.7 for the second, so right at 0.5 to 0.7
    found = [box(1, 1, (10, 10, 20, 20), score=0.9), box(2, 1, (50, 50, 40, 28), score=0.8)]
    (tmp_path / 'truth.json').write_text(json.dumps(truth))
    (tmp_path / 'found.json').write_text(json.dumps(found))
    return tmp_path / 'truth.json', tmp_path / 'found.json'


def test_metrics_by_hand(files):
    metrics = coco_metrics(*files)
    assert tuple(metrics) == NAMES
    assert metrics['AP50'] == pytest.approx(1)
    # at 0.75 one of two objects is found, with precision 1 up to recall 0.5: 51 of 101 points
    assert metrics['AP75'] == pytest.approx(51 / 101)
    assert metrics['AP'] == pytest.approx((5 * 1 + 5 * 51 / 101) / 10)
    assert metrics['APs'] == pytest.approx(1)
    assert metrics['APm'] == pytest.approx(0.5)
    assert metrics['APl'] is None and metrics['ARl'] is None
    assert metrics['AR1'] == metrics['AR100'] == pytest.approx(0.75)


def test_area_limits_move_objects_between_sizes(files):
    metrics = coco_metrics(*files, area_limits=(10**2, 30**2))
    assert metrics['APs'] is None
    assert metrics['APm'] == pytest.approx(1)
    assert metrics['APl'] == pytest.approx(0.5)
    assert metrics['AP'] == coco_metrics(*files)['AP']


def test_no_detections_is_zero_not_an_error(files):
    files[1].write_text('[]')
    metrics = coco_metrics(*files)
    assert metrics['AP'] == 0 and metrics['APl'] is None


@pytest.mark.parametrize('iou_type', ['bbox', 'segm'])
def test_same_metrics_as_cocoapi(test_data, iou_type):
    folder = test_data / 'eval_fixtures/cocoapi'
    metrics = coco_metrics(
        folder / 'gt_instances_val2014_100.json', folder / f'dt_fake{iou_type}100.json', iou_type=iou_type
    )
    expected = json.loads((folder / f'dt_fake{iou_type}100_{iou_type}_stats.json').read_text())['stats']
    # a mean over thousands of numbers may end in another last bit on another processor
    assert list(metrics.values()) == pytest.approx(expected, rel=1e-12)


def test_table_and_file(files, tmp_path):
    metrics = coco_metrics(*files)
    names, values = metrics_table(metrics).splitlines()
    assert names.split() == list(NAMES)
    assert values.split()[1] == '1.000' and values.split()[5] == '-'
    write_metrics(metrics, tmp_path / 'metrics.json')
    assert json.loads((tmp_path / 'metrics.json').read_text()) == metrics
