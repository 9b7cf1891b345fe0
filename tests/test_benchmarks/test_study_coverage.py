"""Coverage of the study's intervals: the simulation is right, and can find a wrong method."""

import contextlib
import io
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / 'benchmarks'))
pytest.importorskip('numba')  # onedl-mmdetection brings it along
import study_coverage  # noqa: E402
from study_ap import THRESHOLDS, average_precision  # noqa: E402
from study_coverage import CELLS, INTERACTION, Cell, measure, seed_of, simulate_scores  # noqa: E402
from study_detections import Effects, coco_pool, generated_pool, overlaps, simulate  # noqa: E402

from mmattn.study.evaluation import EvaluationSettings, RunResults, evaluate_study  # noqa: E402
from mmattn.study.evaluation.jackknife import jackknife_groups  # noqa: E402
from mmattn.study.statistics import compare  # noqa: E402

NOTHING = Effects(
    **dict.fromkeys(['seed', 'run', 'box_run', 'image', 'image_seed', 'image_variant', 'box'], 0)
)


@pytest.fixture(scope='module')
def pool():
    return generated_pool()


def holds(found, studies, low=0.92, high=0.98, false_wins=0.05):
    """Whether coverage and false wins are where they belong, within three Monte Carlo errors."""

    def error(rate):
        return 3 * (rate * (1 - rate) / studies) ** 0.5

    covered = low - error(low) <= found['coverage'] <= high + error(high)
    return covered and found['false_wins'] <= false_wins + error(false_wins)


def annotations_of(object_image, objects):
    return [
        dict(id=n, image_id=int(i) + 1, category_id=1, bbox=box.tolist(), area=box[2] * box[3], iscrowd=0)
        for n, (i, box) in enumerate(zip(object_image, objects), 1)
    ]


def results_of(detections):
    return [
        dict(image_id=int(i) + 1, category_id=1, bbox=box.tolist(), score=float(score))
        for i, box, score in zip(detections.image, detections.boxes, detections.scores)
    ]


def coco_ap(object_image, objects, detections, left_out=()):
    """AP and AP50 by pycocotools, of the images that are not left out."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    images = range(int(max(object_image.max(), detections.image.max())) + 1)
    truth = COCO()
    truth.dataset = dict(
        info={},
        images=[dict(id=i + 1) for i in images],
        categories=[dict(id=1, name='object')],
        annotations=annotations_of(object_image, objects),
    )
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(results_of(detections)), 'bbox')
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ['all']
        evaluation.params.maxDets = [100]
        evaluation.params.imgIds = [i + 1 for i in images if i not in set(left_out)]
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval['precision'][:, :, 0, 0, 0]
    return precision.mean(), precision[0].mean()


def test_ap_is_that_of_pycocotools(pool):
    rng = np.random.default_rng(0)
    object_image, objects, runs = simulate(rng, pool, Effects(), 60, 2, 1)
    group = rng.permutation(60) % 20
    for (run,) in runs:
        of_group = np.bincount(group[object_image], minlength=20)
        found = average_precision(run.scores, run.target, run.overlap, group[run.image], of_group)
        for column, left_out in ((0, -1), (1, 0), (18, 17)):
            expected = coco_ap(object_image, objects, run, np.flatnonzero(group == left_out))
            assert (found[:, column].mean(), found[0, column]) == pytest.approx(expected, abs=1e-13)
    assert THRESHOLDS[0] == 0.5 and found.shape == (10, 21)


def test_no_detection_can_match_another_object(pool):
    object_image, objects, ((run,), _) = simulate(np.random.default_rng(1), pool, Effects(), 200, 2, 1)
    for image in range(200):
        own, here = run.target[run.image == image], np.flatnonzero(object_image == image)
        found = overlaps(run.boxes[run.image == image], objects[here])
        is_own = own[:, None] == here[None]
        assert found[~is_own].max(initial=0) < 0.5
        overlap = run.overlap[run.image == image][own >= 0]
        assert found[is_own] == pytest.approx(overlap)


def test_a_cell_is_the_same_every_time(pool):
    cell = Cell(60, 3)
    one, two = (measure(cell, pool, 5, 7) for _ in range(2))
    assert one['methods'] == two['methods'] != measure(cell, pool, 5, 8)['methods']
    assert len({seed_of(name) for name in CELLS}) == len(CELLS)


def test_a_small_cell_keeps_its_level_and_a_wrong_method_does_not(pool):
    """Images that suit one variant: seeds agree on it, so that t over seeds is too sure."""
    found = measure(Cell(100, 10, INTERACTION), pool, 200, 0)['methods']
    assert holds(found['shipped'], 200) and holds(found['OR, Hillis'], 200)
    assert not holds(found['t over seeds'], 200)


def test_runs_without_random_effects_are_equal(pool):
    quiet = replace(NOTHING, detection=0)
    scores = simulate_scores(np.random.default_rng(0), pool, Cell(60, 3, quiet))
    assert (scores.values == scores.values[:, :1, :1]).all()
    (found, _) = compare(scores, control='variant 0')
    assert found.words == 'no difference larger than 0.00 points'


def test_a_pool_from_files_has_their_boxes(tmp_path):
    def box(x, y):
        return [x, y, 40.0, 20.0]

    annotations = [(1, box(10, 10)), (1, box(12, 10)), (1, box(200, 10)), (2, box(50, 50))]
    content = dict(
        images=[dict(id=1), dict(id=2), dict(id=3)],
        annotations=[dict(image_id=i, bbox=b, iscrowd=0, category_id=1) for i, b in annotations],
    )
    results = [(1, box(14, 11), 0.9), (1, box(400, 400), 0.4), (2, box(50, 52), 0.6)]
    (tmp_path / 'a.json').write_text(json.dumps(content))
    (tmp_path / 'r.json').write_text(
        json.dumps([dict(image_id=i, bbox=b, score=s, category_id=1) for i, b, s in results])
    )
    pool = coco_pool(tmp_path / 'a.json', tmp_path / 'r.json')
    assert pool.images == 2 and len(pool.objects) == 3  # one overlaps another, one image has neither
    assert pool.target.tolist() == [0, -1, 2]
    _, objects, ((run,),) = simulate(np.random.default_rng(0), pool, replace(NOTHING, detection=0), 20, 1, 1)
    wanted = {(tuple(b), s) for _, b, s in results}
    found = {(tuple(b.round(6).tolist()), round(float(s), 6)) for b, s in zip(run.boxes, run.scores)}
    assert found == wanted
    assert len(coco_pool(tmp_path / 'a.json').logit) >= 3


@pytest.fixture(scope='module')
def results():
    return json.loads(study_coverage.RESULTS.read_text())


def test_the_page_is_of_the_results(results):
    begin, end = study_coverage.MARKS
    text = study_coverage.PAGE.read_text(encoding='utf-8')
    assert text.partition(begin)[2].partition(end)[0].strip() == study_coverage.page(results)


def test_the_shipped_method_keeps_its_level_in_all_cells(results):
    assert results['cells'].keys() == CELLS.keys() and results['studies'] == 1000
    for name, found in results['cells'].items():
        assert holds(found['methods']['shipped'], 1000), name


def test_families_are_rarely_wrong(results):
    for seeds in (3, 5, 10):
        rate = results['cells'][f'family-500-{seeds}']['familywise']['shipped']
        assert rate <= 0.05 + 3 * (0.05 * 0.95 / 1000) ** 0.5


@pytest.mark.parametrize(
    'method, cell',
    [
        ('t over seeds', 'interaction-500-10'),
        ('images, one pair', 'seeds-2000-3'),
        ('images, all seeds', 'seeds-2000-3'),
        ('OR, pooled', 'noisier-2000-3'),
    ],
)
def test_wrong_methods_fail_where_they_are_wrong(results, method, cell):
    assert not holds(results['cells'][cell]['methods'][method], 1000)


@pytest.mark.slow
@pytest.mark.parametrize('name', ['null-100-3', 'null-100-5', 'null-500-3', 'interaction-500-10'])
def test_cells_measured_again(pool, results, name):
    """A subset of the table, with the studies of the table."""
    found = measure(CELLS[name], pool, 1000, seed_of(name))['methods']
    assert holds(found['shipped'], 1000)
    for method, rates in results['cells'][name]['methods'].items():
        assert found[method]['coverage'] == pytest.approx(rates['coverage'], abs=0.005), method


def write_study(folder, images, object_image, objects, runs):
    """Write a simulated study as what a study leaves: annotations and a results file for each run."""
    content = dict(
        images=[dict(id=i + 1, file_name=f'{i + 1}.jpg', width=640, height=640) for i in range(images)],
        categories=[dict(id=1, name='object')],
        annotations=annotations_of(object_image, objects),
    )
    (folder / 'annotations.json').write_text(json.dumps(content))
    for v, variant in enumerate(runs):
        for s, run in enumerate(variant):
            path = folder / f'{v}-{s}.json'
            path.write_text(json.dumps(results_of(run)))
            yield RunResults(f'variant {v}', s, dict(bbox=str(path)))


@pytest.mark.slow
@pytest.mark.parametrize('engine, studies', [('pycocotools', 1), ('hotcoco', 20)])
def test_a_cell_by_the_shipped_evaluation(pool, tmp_path, engine, studies):
    """Studies of null-100-3, written as files and evaluated as a user's are, give the same answers."""
    pytest.importorskip(engine)
    cell = CELLS['null-100-3']
    for study in range(studies):
        rng = np.random.default_rng([seed_of('null-100-3'), study])
        object_image, objects, runs = simulate(rng, pool, cell.effects, 100, 2, 3)
        settings = EvaluationSettings(str(tmp_path / 'annotations.json'), parts=('main',), engine=engine)
        written = list(write_study(tmp_path, 100, object_image, objects, runs))
        real = evaluate_study(written, [settings], 100).scores
        fast = study_coverage.scores_of(runs, object_image, jackknife_groups(100))
        rows = [real.metrics.index(metric) for metric in fast.metrics]
        assert real.values[rows] == pytest.approx(fast.values, abs=1e-13)
        assert real.jackknife[rows] == pytest.approx(fast.jackknife, abs=1e-13)
        answers = [each for each in compare(real, 'variant 0') if each.metric in fast.metrics]
        for one, other in zip(compare(fast, 'variant 0'), answers, strict=True):
            assert (one.metric, one.words) == (other.metric, other.words)
            assert (one.low, one.high) == pytest.approx((other.low, other.high), abs=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize(
    'annotations, detections',
    [
        ('facemask/annotations/val.json', None),
        (
            'eval_fixtures/cocoapi/gt_instances_val2014_100.json',
            'eval_fixtures/cocoapi/dt_fakebbox100.json',
        ),
    ],
)
def test_the_level_is_kept_on_real_boxes_and_detections(test_data, annotations, detections):
    for file in filter(None, (annotations, detections)):
        if not (test_data / file).is_file():
            pytest.skip(f'no {file} in MMATTN_TEST_DATA')
    real = coco_pool(test_data / annotations, detections and test_data / detections)
    for cell in (Cell(100, 3), Cell(100, 5, INTERACTION)):
        assert holds(measure(cell, real, 300, 0)['methods']['shipped'], 300)
