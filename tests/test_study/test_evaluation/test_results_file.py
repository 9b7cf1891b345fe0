"""Results files of any origin are read as they were meant, or refused with what was found in them."""

import copy
import json
import pickle
import re

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from mmattn.study.evaluation.detections import Detections
from mmattn.study.evaluation.ground_truth import read_ground_truth
from mmattn.study.evaluation.identify import CATEGORY_READINGS
from mmattn.study.evaluation.masks import to_rle
from mmattn.study.evaluation.refused import EvaluationRefused
from mmattn.study.evaluation.results_file import read_detections
from tests.test_study.made_results import SIDE, made_detections, made_ground_truth, write

TRUTH = made_ground_truth(images=10, objects=30)
RESULTS = made_detections(TRUTH, number=40, many=False)
MASKS = made_detections(TRUTH, number=40, many=False, masks=True)


@pytest.fixture
def truth(tmp_path):
    return read_ground_truth(write(tmp_path / 'ann.json', TRUTH))


def read(tmp_path, truth, results, categories='auto'):
    return read_detections(write(tmp_path / 'results.json', results), truth, categories)


def changed(number, **fields):
    results = copy.deepcopy(RESULTS)
    results[number].update(fields)
    return results


def test_the_columns_are_those_of_the_file(truth, tmp_path):
    found = read(tmp_path, truth, RESULTS)
    assert isinstance(found, Detections)
    assert [truth.image_ids[image] for image in found.images] == [each['image_id'] for each in RESULTS]
    assert [truth.class_ids[number] for number in found.classes] == [each['category_id'] for each in RESULTS]
    np.testing.assert_array_equal(found.boxes, [each['bbox'] for each in RESULTS])
    np.testing.assert_array_equal(found.scores, [each['score'] for each in RESULTS])
    assert found.notes == ()


def test_ultralytics_predictions(truth, tmp_path):
    """image_id is the stem of the file's name, a number where it can be one; category_id counts from 1."""
    names = {image['id']: image['file_name'] for image in TRUTH['images']}
    for count_from, reading in ((0, 'from 0'), (1, 'from 1')):
        results = [
            dict(
                image_id=int(names[each['image_id']][7:-4]),
                file_name=names[each['image_id']][7:],
                category_id=each['category_id'] // 2 + count_from,
                bbox=each['bbox'],
                score=each['score'],
            )
            for each in RESULTS
        ]
        found, expected = read(tmp_path, truth, results), read(tmp_path, truth, RESULTS)
        for column in ('images', 'classes', 'boxes', 'scores'):
            np.testing.assert_array_equal(getattr(found, column), getattr(expected, column))
        assert any('the name of the image without its suffix' in note for note in found.notes)
        assert any(f'counts the 6 categories {reading}' in note for note in found.notes)


def test_names_of_images_as_texts(truth, tmp_path):
    found = read(tmp_path, truth, [dict(each, image_id='000005') for each in RESULTS])
    assert set(found.images) == {1}


def test_two_images_of_one_name_cannot_be_told_apart(tmp_path):
    data = copy.deepcopy(TRUTH)
    data['images'][1]['file_name'] = 'other/000000.jpg'
    truth = read_ground_truth(write(tmp_path / 'ann.json', data))
    with pytest.raises(EvaluationRefused, match='1 of its 1 image ids are not in'):
        read(tmp_path, truth, [dict(each, image_id='000000') for each in RESULTS])


def test_coco80_to_91(tmp_path, test_data):
    """A detector that counts COCO's 80 classes from 0 on annotations with COCO's ids up to 90."""
    truth = read_ground_truth(test_data / 'coco_real/annotations/val.json')
    image = truth.image_ids[0]
    results = [dict(image_id=image, category_id=c, bbox=[1, 1, 9, 9], score=0.5) for c in (0, 11, 79)]
    found = read(tmp_path, truth, results)
    assert [truth.class_names[each] for each in found.classes] == ['person', 'stop sign', 'toothbrush']
    assert [truth.class_ids[each] for each in found.classes] == [1, 13, 90]


def test_the_reading_of_categories_can_be_given(truth, tmp_path):
    """A detector that never found class 0: what it says of the others reads as ids too."""
    results = [dict(each, category_id=c) for each, c in zip(RESULTS, (1, 3, 5))]
    meant = {
        reading: read(tmp_path, truth, results, reading).classes.tolist() for reading in CATEGORY_READINGS
    }
    assert meant == {'ids': [0, 1, 2], 'from-0': [1, 3, 5], 'from-1': [0, 2, 4]}
    assert read(tmp_path, truth, results).classes.tolist() == meant['ids']
    with pytest.raises(EvaluationRefused, match='category ids that .* does not have: 0.*read as from-1'):
        read(tmp_path, truth, [dict(RESULTS[0], category_id=0)], 'from-1')


def test_torchmetrics_target_without_names_and_sizes(tmp_path):
    data = copy.deepcopy(TRUTH)
    data['images'] = [dict(id=image['id']) for image in data['images']]
    for annotation in data['annotations']:
        del annotation['segmentation'], annotation['iscrowd'], annotation['area']
    truth = read_ground_truth(write(tmp_path / 'ann.json', data))
    assert truth.notes == ('30 annotations have no area: that of their box is taken',)
    assert len(read(tmp_path, truth, RESULTS)) == 40
    assert not truth.crowd.any()


def test_a_file_without_detections(truth, tmp_path):
    found = read(tmp_path, truth, [])
    assert len(found) == 0 and found.boxes.shape == (0, 4)


REFUSED = {
    'unknown image': (
        changed(3, image_id=5),
        r'1 of its .* image ids are not in .*ann.json.*: 5\. .* such as 7, 10',
    ),
    'image as list': (changed(3, image_id=[7]), 'an image_id or category_id is no number'),
    'unknown category': (
        changed(3, category_id=99),
        r'category ids that .*ann.json. does not have: .*99.* 6 categories with the ids 1, 3, 5, 7, 9',
    ),
    'score NaN': (changed(4, score=float('nan')), 'entry 4 has the score nan.*diverged'),
    'score infinite': (changed(4, score=float('inf')), 'entry 4 has the score inf'),
    'score as text': (changed(4, score='high'), "entry 4 has the score 'high'"),
    'score missing': ([*RESULTS[:2], dict(image_id=7, category_id=1, bbox=[1, 1, 2, 2])],
                      "entry 2 has no score; it has 'image_id', 'category_id', 'bbox'"),
    'box of three': (changed(5, bbox=[1, 2, 3]), r'entry 5 has the bbox \[1, 2, 3\].*four finite numbers'),
    'all boxes of three': ([dict(each, bbox=[1, 2, 3]) for each in RESULTS], r'entry 0 has the bbox \[1'),
    'box NaN': (changed(5, bbox=[1, 2, 3, float('nan')]), r'entry 5 has the bbox \[1, 2, 3, nan\]'),
    'box as corners': (changed(5, bbox=[9, 9, -4, 3]), r'\[x, y, width, height\], with no side below zero'),
    'only masks': ([dict(image_id=7, category_id=1, score=.5, segmentation=[])],
                   r'entry 0 has a segmentation and no bbox: evaluate masks \(segm\)'),
    'no object': ([*RESULTS[:1], 5], 'entry 1 is 5, no object'),
    'annotations': (TRUTH, 'an annotation file, not results'),
    'a dict': (dict(found=RESULTS), "an object with 'found', not a list.*outfile_prefix.*save_json"),
    'a number': (5, 'is 5, not a list'),
}  # fmt: skip


@pytest.mark.parametrize('case', REFUSED)
def test_refused(case, truth, tmp_path):
    results, message = REFUSED[case]
    with pytest.raises(EvaluationRefused, match=message) as refused:
        read(tmp_path, truth, results)
    assert 'results.json' in str(refused.value)


def test_files_that_are_no_json(truth, tmp_path):
    path = tmp_path / 'results.json'
    path.write_bytes(pickle.dumps(RESULTS))
    with pytest.raises(EvaluationRefused, match="Python's pickle .*outfile_prefix"):
        read_detections(path, truth)
    path.write_text(json.dumps(RESULTS)[:-20])
    with pytest.raises(EvaluationRefused, match='not valid JSON.*cut off'):
        read_detections(path, truth)
    with pytest.raises(FileNotFoundError, match="no results file '.*missing.json'"):
        read_detections(tmp_path / 'missing.json', truth)


def test_masks_as_polygons_and_run_lengths_are_one(tmp_path):
    truth = read_ground_truth(write(tmp_path / 'ann.json', TRUTH), 'segm')
    ring = [10.0, 10, 60, 12, 40, 70]
    rle = coco_mask.merge(coco_mask.frPyObjects([ring], SIDE, SIDE))
    pixels = coco_mask.decode(rle).ravel(order='F')
    runs = np.diff([0, *np.flatnonzero(np.diff(pixels)) + 1, pixels.size]).tolist()
    entry = dict(image_id=7, category_id=1, score=0.5)
    size = [SIDE, SIDE]
    forms = ([ring], dict(size=size, counts=runs), dict(size=size, counts=rle['counts'].decode()))
    found = read(tmp_path, truth, [dict(entry, segmentation=form) for form in forms])
    assert [mask['counts'] for mask in found.masks] == [rle['counts']] * 3
    assert found.areas.tolist() == [pixels.sum()] * 3


def test_many_masks(tmp_path):
    """pycocotools' area of a list fails for more than 255."""
    truth = read_ground_truth(write(tmp_path / 'ann.json', TRUTH), 'segm')
    found = read(tmp_path, truth, MASKS * 8)
    assert found.areas.tolist() == [float(coco_mask.area(mask)) for mask in found.masks]


@pytest.mark.parametrize(
    ('segmentation', 'message'),
    [
        (dict(size=[SIDE, 7], counts='abc'), rf'mask has the size \[{SIDE}, 7\], its image \[{SIDE}, '),
        (dict(size=[SIDE, SIDE], counts=[5, 6]), f'do not add up to the {SIDE * SIDE} pixels'),
        ([[1, 2, 3, 4]], 'neither polygons'),
        ('abc', 'neither polygons'),
    ],
)
def test_refused_masks(segmentation, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        to_rle(segmentation, SIDE, SIDE)
    truth = read_ground_truth(write(tmp_path / 'ann.json', TRUTH), 'segm')
    results = copy.deepcopy(MASKS)
    results[2]['segmentation'] = segmentation
    with pytest.raises(EvaluationRefused, match='entry 2 cannot be evaluated'):
        read(tmp_path, truth, results)


def broken(change):
    data = copy.deepcopy(TRUTH)
    change(data)
    return data


REFUSED_ANNOTATIONS = {
    'results': (RESULTS, 'holds a list of 40 entries, which seem to be results'),
    'no categories': (broken(lambda data: data.pop('categories')), "holds an object with 'images'"),
    'no images': (broken(lambda data: data['images'].clear()), 'lists no image'),
    'no id': (broken(lambda data: data['images'][0].pop('id')), 'one of its images has no id'),
    'one name': (broken(lambda data: data['categories'][1].update(name='class 0')), "the same name: 'class"),
    'box': (broken(lambda data: data['annotations'][3].update(bbox=[1, 2])), r'\(id 4\) has the bbox \[1'),
    'ids of two types': (broken(lambda data: data['images'][0].update(id='a')), 'ids of some entries .image'),
}


@pytest.mark.parametrize('case', REFUSED_ANNOTATIONS)
def test_refused_annotations(case, tmp_path):
    data, message = REFUSED_ANNOTATIONS[case]
    with pytest.raises(EvaluationRefused, match=message):
        read_ground_truth(write(tmp_path / 'ann.json', data))


def test_annotations_without_masks(tmp_path):
    data = broken(lambda data: data['annotations'][3].pop('segmentation'))
    read_ground_truth(write(tmp_path / 'ann.json', data))
    with pytest.raises(EvaluationRefused, match=re.escape('(id 4) has none') + '.*Evaluate boxes instead'):
        read_ground_truth(write(tmp_path / 'ann.json', data), 'segm')


def test_annotations_of_nothing_are_left_out(tmp_path):
    data = broken(lambda data: data['annotations'][3].update(image_id=1, category_id=99))
    truth = read_ground_truth(write(tmp_path / 'ann.json', data))
    assert len(truth.images) == 29 and '1 annotations are of images or categories' in truth.notes[0]
