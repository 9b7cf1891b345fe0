"""The twelve figures are those of COCO's code, and None where there is nothing to measure."""

import json

import pytest

from mmattn.demo.coco_metrics import NAMES, coco_figures, figures_table, write_figures


def box(image, category, corners, **more):
    x, y, w, h = corners
    return dict(image_id=image, category_id=category, bbox=[x, y, w, h], **more)


@pytest.fixture
def files(tmp_path):
    """Two pictures, a small and a medium object; the detector finds one well and one badly."""
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


def test_figures_by_hand(files):
    figures = coco_figures(*files)
    assert tuple(figures) == NAMES
    assert figures['AP50'] == pytest.approx(1)
    # at 0.75 one of two objects is found, with precision 1 up to recall 0.5: 51 of 101 points
    assert figures['AP75'] == pytest.approx(51 / 101)
    assert figures['AP'] == pytest.approx((5 * 1 + 5 * 51 / 101) / 10)
    assert figures['APs'] == pytest.approx(1)
    assert figures['APm'] == pytest.approx(0.5)
    assert figures['APl'] is None and figures['ARl'] is None
    assert figures['AR1'] == figures['AR100'] == pytest.approx(0.75)


def test_area_limits_move_objects_between_sizes(files):
    figures = coco_figures(*files, area_limits=(10**2, 30**2))
    assert figures['APs'] is None
    assert figures['APm'] == pytest.approx(1)
    assert figures['APl'] == pytest.approx(0.5)
    assert figures['AP'] == coco_figures(*files)['AP']


def test_no_detections_is_zero_not_an_error(files):
    files[1].write_text('[]')
    figures = coco_figures(*files)
    assert figures['AP'] == 0 and figures['APl'] is None


@pytest.mark.parametrize('kind', ['bbox', 'segm'])
def test_same_figures_as_cocoapi(test_data, kind):
    folder = test_data / 'eval_fixtures/cocoapi'
    figures = coco_figures(
        folder / 'gt_instances_val2014_100.json', folder / f'dt_fake{kind}100.json', iou_type=kind
    )
    expected = json.loads((folder / f'dt_fake{kind}100_{kind}_stats.json').read_text())['stats']
    # a mean over thousands of numbers may end in another last bit on another processor
    assert list(figures.values()) == pytest.approx(expected, rel=1e-12)


def test_table_and_file(files, tmp_path):
    figures = coco_figures(*files)
    names, values = figures_table(figures).splitlines()
    assert names.split() == list(NAMES)
    assert values.split()[1] == '1.000' and values.split()[5] == '-'
    write_figures(figures, tmp_path / 'figures.json')
    assert json.loads((tmp_path / 'figures.json').read_text()) == figures
