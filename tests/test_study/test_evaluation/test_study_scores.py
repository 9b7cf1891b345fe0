"""The runs of a study become Scores: each metric where its variant and seed are."""

import json
from pathlib import Path

import numpy as np
import pytest

from mmattn.study.evaluation import EvaluationSettings, RunResults, evaluate_run, evaluate_study
from mmattn.study.evaluation.image_differences import most_different_images
from mmattn.study.evaluation.mistakes import MISTAKES
from mmattn.study.evaluation.parts import IMAGE_SCORES, mistake_count
from tests.test_study.made_results import made_detections, made_ground_truth, write

TRUTH = made_ground_truth(images=11, objects=50)


@pytest.fixture(scope='module')
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp('study')
    ann_file = str(write(folder / 'ann.json', TRUTH))
    runs = []
    for variant, seed in (('plain', 0), ('plain', 1), ('se', 1)):  # one run is missing
        found = made_detections(TRUTH, 100, seed=seed, masks=True, noise=0.05 + 0.1 * (variant == 'se'))
        path = str(write(folder / f'{variant}{seed}.json', found))
        runs.append(RunResults(variant, seed, dict(bbox=path, segm=path)))
    settings = [EvaluationSettings(ann_file, iou_type, groups=4) for iou_type in ('bbox', 'segm')]
    told = []
    evaluation = evaluate_study(runs, settings, 11, progress=lambda done, of: told.append((done, of)))
    assert told == [(number, 6) for number in range(1, 7)]
    return runs, settings, evaluation


def test_each_metric_is_where_it_belongs(study):
    runs, settings, evaluation = study
    scores = evaluation.scores
    assert (scores.variants, scores.seeds, scores.images, scores.groups) == (('plain', 'se'), (0, 1), 11, 4)
    assert {'bbox/AP', 'segm/AP75', 'bbox/AR@100', 'segm/AP/class 2'} <= set(scores.metrics)
    for setting in settings:
        alone = evaluate_run(runs[2].files[setting.iou_type], setting).arrays
        row = scores.metrics.index(f'{setting.iou_type}/AP/class 2')
        assert scores.values[row, 1, 1] == alone['AP/class 2'][0]
        np.testing.assert_array_equal(scores.jackknife[row, 1, 1], alone['AP/class 2'][1:])
        np.testing.assert_array_equal(evaluation.image_scores[setting.iou_type][1, 1], alone[IMAGE_SCORES])
    assert np.isnan(scores.values[:, 1, 0]).all() and np.isnan(scores.jackknife[:, 1, 0]).all()
    assert scores.values[0, 0, 0] > scores.values[0, 1, 1]  # less noise is better


def test_mistakes(study):
    runs, settings, evaluation = study
    assert evaluation.mistakes.metrics == tuple(f'{t}/{m}' for t in ('bbox', 'segm') for m in MISTAKES)
    counts = evaluation.mistake_counts
    assert counts.shape == (12, 2, 2, 5)
    alone = evaluate_run(runs[2].files['bbox'], settings[0]).arrays[mistake_count('background')]
    row = evaluation.mistakes.metrics.index('bbox/background')
    # 11 images in 4 groups: the first three have 3.
    np.testing.assert_allclose(counts[row, 1, 1], alone / [11, 8, 8, 8, 9])


def test_notes(study):
    evaluation = study[2]
    assert set(evaluation.notes) == {
        (t, *run) for t in ('bbox', 'segm') for run in (('plain', 0), ('plain', 1), ('se', 1))
    }
    for run in study[0]:
        there = {each['image_id'] for each in json.loads(Path(run.files['bbox']).read_text())}
        assert evaluation.without_detections['bbox', run.variant, run.seed] == 11 - len(there)
    assert max(evaluation.without_detections.values()) > 0


def test_images_on_which_two_variants_differ():
    nan = np.nan
    a = np.array([[0.5, 0.2, 0.4, nan, 0.3], [0.7, 0.2, nan, nan, 0.3]])
    b = np.array([[0.5, 0.9, 0.5, nan, 0.3], [0.3, 0.9, 0.1, nan, 0.3]])
    found = most_different_images(a, b, [3, 7])
    assert [each.image for each in found] == [1, 0, 2]  # image 4 is equal, 3 has no score
    assert [each.seeds for each in found] == [2, 2, 1]
    np.testing.assert_allclose([each.difference for each in found], [-0.7, 0.2, -0.1])
    np.testing.assert_allclose([found[1].variant, found[1].control], [0.6, 0.4])
    # of image 0 the differences are 0 and 0.4, as far from their mean; of image 2 one seed has both
    assert [each.seed for each in found] == [3, 3, 3]
    assert most_different_images(a, b, [3, 7], number=1) == found[:2]  # the most lost, the most gained


def test_the_example_is_the_seed_nearest_to_the_mean():
    a = np.array([[0.9, 0.1], [0.5, np.nan], [0.1, 0.3]])
    b = np.array([[0.1, 0.1], [0.2, 0.5], [0.1, 0.1]])  # differences 0.8, 0.3, 0; then 0, -, 0.2
    (first, second) = most_different_images(a, b, [10, 20, 30])
    assert (first.image, first.seed) == (0, 20) and first.difference == pytest.approx(1.1 / 3)
    assert (second.image, second.seed) in {(1, 10), (1, 30)} and second.seeds == 2
