"""Both engines give what COCO's own code gives, on all images and on subsets that it is given alone."""

import contextlib
import copy
import io
import json

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mmattn.study.evaluation.engines import ENGINES, engine_class, slow_engine_note
from mmattn.study.evaluation.ground_truth import read_ground_truth
from mmattn.study.evaluation.hotcoco_engine import HotcocoEngine
from mmattn.study.evaluation.jackknife import jackknife_groups, subsets_of
from mmattn.study.evaluation.metrics import MAIN, SUMMARY
from mmattn.study.evaluation.pycocotools_engine import PycocotoolsEngine
from mmattn.study.evaluation.results_file import read_detections
from tests.test_study.made_results import made_detections, made_ground_truth, write


def by_pycocotools(truth, detections, iou_type, image_ids=None):
    """The twelve metrics and the AP of each class as COCO's own code gives them, from dicts of its format."""
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = copy.deepcopy(truth)
        coco.createIndex()
        found = copy.deepcopy(detections)
        if iou_type == 'segm':
            for each in found:  # as MMDetection does, for the area of a detection to be that of its mask
                each.pop('bbox', None)
        if found:
            found = coco.loadRes(found)
        else:
            found = COCO()
            found.dataset = dict(images=truth['images'], categories=truth['categories'], annotations=[])
            found.createIndex()
        evaluation = COCOeval(coco, found, iou_type)
        if image_ids is not None:
            evaluation.params.imgIds = list(image_ids)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    precision = evaluation.eval['precision'][:, :, :, 0, 2]
    classes = [p[p > -1].mean() if (p > -1).any() else np.nan for p in np.moveaxis(precision, 2, 0)]
    return np.where(evaluation.stats < 0, np.nan, evaluation.stats), np.array(classes)


@pytest.fixture(scope='module')
def truth():
    return made_ground_truth()


def detections_for(case, truth, masks):
    if case == 'empty':
        return []
    found = made_detections(truth, masks=masks)
    if case == 'one class':
        found = [each for each in found if each['category_id'] == 3]
    return found


@pytest.mark.parametrize('case', ['all', 'one class', 'empty'])
@pytest.mark.parametrize('iou_type', ['bbox', 'segm'])
@pytest.mark.parametrize('name', ENGINES)
def test_equals_cocos_own_code(name, iou_type, case, truth, tmp_path):
    results = detections_for(case, truth, masks=iou_type == 'segm')
    known = read_ground_truth(write(tmp_path / 'ann.json', truth), iou_type)
    found = read_detections(write(tmp_path / 'results.json', results), known)
    subsets = subsets_of(jackknife_groups(len(known.image_ids), groups=6))
    # The images 32 to 39 have no objects: nothing is defined there.
    subsets.append(np.arange(32, 40))

    engine = engine_class(name)(known)
    metrics = engine.evaluate(found, subsets, SUMMARY)
    classes = engine.evaluate_classes(found, subsets)

    for row, images in enumerate([np.arange(len(known.image_ids)), *subsets]):
        expected = by_pycocotools(truth, results, iou_type, [known.image_ids[image] for image in images])
        np.testing.assert_allclose(metrics[row], expected[0], rtol=0, atol=1e-12)
        np.testing.assert_allclose(classes[row], expected[1], rtol=0, atol=1e-12)
    assert np.isnan(metrics[-1]).all()
    assert np.isnan(classes[:, -1]).all()  # the class without objects
    np.testing.assert_array_equal(engine.evaluate(found, subsets, MAIN), metrics[:, :3])
    if case == 'all':
        assert metrics[0, 0] > 0.05  # it does find something


@pytest.mark.parametrize('iou_type', ['bbox', 'segm'])
@pytest.mark.parametrize('name', ENGINES)
def test_the_official_detections(name, iou_type, test_data):
    """cocoapi's own example, with the metrics that it gives for it."""
    folder = test_data / 'eval_fixtures/cocoapi'
    truth = read_ground_truth(folder / 'gt_instances_val2014_100.json', iou_type)
    found = read_detections(folder / f'dt_fake{iou_type}100.json', truth)
    values = engine_class(name)(truth).evaluate(found, [], SUMMARY)[0]
    stats = json.loads((folder / f'dt_fake{iou_type}100_{iou_type}_stats.json').read_text())
    np.testing.assert_allclose(values, stats['stats'], rtol=0, atol=1e-12)


@pytest.mark.parametrize('name', ENGINES)
def test_an_annotation_with_the_id_0_can_be_found(name, tmp_path):
    truth = made_ground_truth(images=3, objects=1)
    (only,) = truth['annotations']
    only |= dict(id=0, iscrowd=0)
    found = [dict(image_id=only['image_id'], category_id=only['category_id'], bbox=only['bbox'], score=0.5)]
    assert by_pycocotools(truth, found, 'bbox')[0][0] == 0  # what this differs from
    known = read_ground_truth(write(tmp_path / 'ann.json', truth))
    detections = read_detections(write(tmp_path / 'results.json', found), known)
    np.testing.assert_allclose(engine_class(name)(known).evaluate(detections, [], MAIN), 1)


def test_the_fastest_installed_engine_is_taken(monkeypatch):
    assert engine_class() is HotcocoEngine and slow_engine_note('hotcoco') is None
    monkeypatch.setattr(
        'mmattn.study.evaluation.engines.find_spec', lambda name: None if name == 'hotcoco' else name
    )
    assert engine_class() is PycocotoolsEngine
    assert 'pip install hotcoco' in slow_engine_note('pycocotools')
    with pytest.raises(ValueError, match="no engine 'coco'.*hotcoco, pycocotools"):
        engine_class('coco')
