"""Mistakes are those of TIDE: against its definition written in loops, and against hotcoco's."""

import itertools

import hotcoco
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from mmattn.study.evaluation.average_precision import average_precision
from mmattn.study.evaluation.engines import engine_class
from mmattn.study.evaluation.ground_truth import read_ground_truth
from mmattn.study.evaluation.jackknife import jackknife_groups, subsets_of
from mmattn.study.evaluation.matching import match_images
from mmattn.study.evaluation.mistakes import MISTAKES, count_mistakes
from mmattn.study.evaluation.results_file import read_detections
from tests.test_study.made_results import made_detections, made_ground_truth, write


def mistakes_in_loops(truth, detections, images):
    """Section 2.2 of the paper, object by object: the number of mistakes, and AP50 with each type mended."""
    objects, found = [], []
    for image in images:
        here = [dict(each, image=image) for each in truth['annotations'] if each['image_id'] == image]
        there = [dict(each) for each in detections if each['image_id'] == image]
        there.sort(key=lambda each: -each['score'])
        for category in {each['category_id'] for each in there}:
            for extra in [each for each in there if each['category_id'] == category][100:]:
                there.remove(extra)
        for one in here:
            one['found'], one['mended_by'] = False, None
        for each in there:
            best = None
            for one in here:
                if one['category_id'] == each['category_id'] and not one['found'] and not one['iscrowd']:
                    if iou(each, one) >= (0.5 if best is None else iou(each, best)):
                        best = one
            each['type'], each['mended'] = 'true' if best else None, None
            if best:
                best['found'] = True
            elif any(
                one['iscrowd'] and one['category_id'] == each['category_id'] and iou(each, one) >= 0.5
                for one in here
            ):
                each['type'] = 'ignored'
        plain = [one for one in here if not one['iscrowd']]
        for each in there:
            if each['type'] is None:
                own = [one for one in plain if one['category_id'] == each['category_id']]
                other = [one for one in plain if one['category_id'] != each['category_id']]
                best_own = max(own, key=lambda one: iou(each, one), default=None)
                best_other = max(other, key=lambda one: iou(each, one), default=None)
                in_own = iou(each, best_own) if own else 0
                in_other = iou(each, best_other) if other else 0
                target = None
                if 0.1 <= in_own <= 0.5:
                    each['type'], target = 'localisation', best_own
                elif in_other >= 0.5:
                    each['type'], target = 'classification', best_other
                elif any(one['found'] and iou(each, one) >= 0.5 for one in own):
                    each['type'] = 'duplicate'
                elif max(in_own, in_other) <= 0.1:
                    each['type'] = 'background'
                else:
                    each['type'] = 'both'
                if target and not target['found'] and target['mended_by'] is None:
                    target['mended_by'], each['mended'] = each, target['category_id']
        found += there
        objects += plain
    missed = [one for one in objects if not one['found'] and one['mended_by'] is None]
    counts = [sum(each['type'] == mistake for each in found) for mistake in MISTAKES[:-1]] + [len(missed)]

    def ap50(mend):
        mean = []
        for category in {one['category_id'] for one in objects}:
            number = sum(one['category_id'] == category for one in objects)
            if mend == 'missed':
                number -= sum(one['category_id'] == category for one in missed)
                if not number:
                    continue
            ranking = []
            for each in found:
                if each['type'] == mend:
                    if each['mended'] == category:
                        ranking.append((each['score'], True))
                elif each['type'] != 'ignored' and each['category_id'] == category:
                    ranking.append((each['score'], each['type'] == 'true'))
            ranking.sort(key=lambda pair: -pair[0])
            true = list(itertools.accumulate(good for _, good in ranking))
            curve = [(t / number, t / n) for n, t in enumerate(true, 1)]
            recalls = np.linspace(0, 1, 101)
            mean.append(np.mean([max((p for r, p in curve if r >= at), default=0) for at in recalls]))
        return np.mean(mean)

    return counts, [ap50(mistake) - ap50(None) for mistake in MISTAKES]


def iou(detection, annotation):
    return coco_mask.iou([detection['bbox']], [annotation['bbox']], [annotation['iscrowd']])[0, 0]


def made(tmp_path, crowds=True, many=True, seed=0):
    truth = made_ground_truth(images=20, objects=70, seed=seed)
    if not crowds:
        truth['annotations'] = [each for each in truth['annotations'] if not each['iscrowd']]
    detections = made_detections(truth, number=250, many=many, seed=seed)
    scores = np.random.default_rng(seed).permutation(len(detections))  # no ties, whose order TIDE leaves open
    detections = [dict(each, score=float(score) / 1000) for each, score in zip(detections, scores)]
    known = read_ground_truth(write(tmp_path / 'ann.json', truth))
    return truth, detections, known, read_detections(write(tmp_path / 'results.json', detections), known)


@pytest.mark.parametrize('seed', range(3))
def test_equals_the_definition(seed, tmp_path):
    truth, detections, known, found = made(tmp_path, seed=seed)
    group = jackknife_groups(20, groups=3)
    mistakes = count_mistakes(known, found, group)
    for column, images in enumerate([np.arange(20), *subsets_of(group)]):
        counts, costs = mistakes_in_loops(truth, detections, [known.image_ids[image] for image in images])
        assert mistakes.counts[:, column].tolist() == counts
        np.testing.assert_allclose(mistakes.costs[:, column], costs, rtol=0, atol=1e-12)
    assert (mistakes.counts[:, 0] > 0).all()  # each type is there


def test_equals_hotcoco_without_crowds(tmp_path):
    """hotcoco takes crowds as objects whose place a detection can miss; tidecv and the paper do not."""
    truth, detections, known, found = made(tmp_path, crowds=False)
    coco = hotcoco.COCO(truth)
    evaluation = hotcoco.COCOeval(coco, coco.load_res(detections), 'bbox')
    evaluation.evaluate()
    expected = evaluation.tide_errors()
    names = ('Cls', 'Loc', 'Both', 'Dupe', 'Bkg', 'Miss')
    mistakes = count_mistakes(known, found, jackknife_groups(20))
    assert mistakes.counts[:, 0].tolist() == [expected['counts'][name] for name in names]
    np.testing.assert_allclose(
        mistakes.costs[:, 0], [expected['delta_ap'][name] for name in names], rtol=0, atol=1e-12
    )


def test_true_detections_are_those_of_coco(tmp_path):
    """With nothing mended, AP50 is that of the engines, ties, crowds and the limit of 100 included."""
    truth = made_ground_truth()
    known = read_ground_truth(write(tmp_path / 'ann.json', truth))
    found = read_detections(write(tmp_path / 'results.json', made_detections(truth)), known)
    matches = match_images(known, found)
    counted = matches.types != 'ignored'
    group = jackknife_groups(40, groups=4)
    objects = np.array(
        [
            [
                sum((known.classes == number) & ~known.crowd & np.isin(known.images, subset))
                for subset in (np.arange(40), *subsets_of(group))
            ]
            for number in range(6)
        ]
    )
    values = average_precision(
        matches.classes[counted],
        matches.scores[counted],
        (matches.types == 'true')[counted],
        group[matches.images[counted]],
        objects,
    )
    expected = engine_class()(known).evaluate(found, subsets_of(group), ('AP50',))[:, 0]
    np.testing.assert_allclose(values, expected, rtol=0, atol=1e-12)


def test_no_detections(tmp_path):
    truth = made_ground_truth(images=20, objects=70)
    known = read_ground_truth(write(tmp_path / 'ann.json', truth))
    found = read_detections(write(tmp_path / 'results.json', []), known)
    mistakes = count_mistakes(known, found, jackknife_groups(20))
    assert mistakes.counts[:, 0].tolist() == [0, 0, 0, 0, 0, (~known.crowd).sum()]
    assert np.isnan(mistakes.costs[-1, 0])  # without the missed objects none is left
    assert (mistakes.costs[:-1, 0] == 0).all()


def test_masks(tmp_path):
    """The mistakes of masks are found by the overlap of masks: perfect ones make none."""
    truth = made_ground_truth(images=20, objects=70)
    truth['annotations'] = [each for each in truth['annotations'] if not each['iscrowd']]
    known = read_ground_truth(write(tmp_path / 'ann.json', truth), 'segm')
    perfect = [
        dict(
            image_id=each['image_id'],
            category_id=each['category_id'],
            score=0.9,
            segmentation=each['segmentation'],
            bbox=[0, 0, 1, 1],
        )
        for each in truth['annotations']
    ]
    found = read_detections(write(tmp_path / 'results.json', perfect), known)
    assert count_mistakes(known, found, jackknife_groups(20)).counts[:, 0].tolist() == [0] * 6
