"""Evaluations of many files: the same from the cache, from other processes, and after damage."""

import copy
import os

import numpy as np
import pytest

from mmattn.study.evaluation import cache as cache_module
from mmattn.study.evaluation import evaluate as evaluate_module
from mmattn.study.evaluation.engines import ENGINES, engine_class
from mmattn.study.evaluation.evaluate import EvaluationSettings, evaluate_run, evaluate_runs
from mmattn.study.evaluation.ground_truth import read_ground_truth
from mmattn.study.evaluation.jackknife import jackknife_groups, subsets_of
from mmattn.study.evaluation.metrics import SUMMARY
from mmattn.study.evaluation.parts import IMAGE_SCORES, PARTS
from mmattn.study.evaluation.refused import EvaluationRefused
from tests.test_study.made_results import made_detections, made_ground_truth, write

TRUTH = made_ground_truth(images=12, objects=50)


@pytest.fixture
def files(tmp_path):
    write(tmp_path / 'ann.json', TRUTH)
    return [
        write(tmp_path / f'run{seed}.json', made_detections(TRUTH, 150, seed=seed, many=False))
        for seed in range(3)
    ]


def settings(tmp_path, **more):
    return EvaluationSettings(str(tmp_path / 'ann.json'), groups=4, **more)


def same(a, b):
    assert (a.notes, a.without_detections) == (b.notes, b.without_detections)
    assert list(a.arrays) == list(b.arrays)
    for name, array in a.arrays.items():
        np.testing.assert_array_equal(array, b.arrays[name])


def test_all_parts(files, tmp_path):
    found = evaluate_run(files[0], settings(tmp_path))
    truth = read_ground_truth(tmp_path / 'ann.json')
    assert list(found.arrays)[:12] == list(SUMMARY)
    assert [name for name in found.arrays if name.startswith('AP/')] == [f'AP/class {n}' for n in range(6)]
    assert all(found.arrays[name].shape == (5,) for name in found.arrays if name != IMAGE_SCORES)
    assert found.arrays[IMAGE_SCORES].shape == (12,)
    np.testing.assert_array_equal(
        np.isnan(found.arrays[IMAGE_SCORES]), ~np.isin(np.arange(12), truth.images[~truth.crowd])
    )
    classes = np.stack([found.arrays[f'AP/class {n}'] for n in range(6)])
    np.testing.assert_allclose(np.nanmean(classes, axis=0), found.arrays['AP'], rtol=0, atol=1e-12)


@pytest.mark.parametrize('part', PARTS)
def test_engines_give_the_same_parts(part, files, tmp_path):
    a, b = (
        evaluate_run(files[0], settings(tmp_path, parts=(part,), engine=engine)).arrays for engine in ENGINES
    )
    assert list(a) == list(b)
    for name in a:
        np.testing.assert_allclose(a[name], b[name], rtol=0, atol=1e-12)


@pytest.fixture
def no_evaluation(monkeypatch):
    """From when it is called, evaluating fails: what comes then is from the cache."""

    def forbid():
        monkeypatch.setattr(evaluate_module, '_opened', lambda *args: pytest.fail('evaluated again'))

    return forbid


def test_the_cache_is_used_whatever_the_file_is_called(files, tmp_path, no_evaluation):
    cache = str(tmp_path / 'deep/cache')
    first = evaluate_run(files[0], settings(tmp_path, cache=cache))
    same(first, evaluate_run(files[0], settings(tmp_path)))
    os.rename(files[0], tmp_path / 'moved.json')
    no_evaluation()
    same(first, evaluate_run(tmp_path / 'moved.json', settings(tmp_path, cache=cache)))


def test_parts_are_kept_one_by_one(files, tmp_path, no_evaluation):
    cache = str(tmp_path / 'cache')
    for part in ('main', 'mistakes'):
        evaluate_run(files[0], settings(tmp_path, cache=cache, parts=(part,)))
    assert len(os.listdir(cache)) == 2
    no_evaluation()
    evaluate_run(files[0], settings(tmp_path, cache=cache, parts=('main', 'mistakes')))


@pytest.mark.parametrize('change', ['results', 'annotations', 'categories', 'groups', 'engine', 'format'])
def test_what_changes_the_numbers_is_evaluated_anew(change, files, tmp_path, monkeypatch):
    cache = str(tmp_path / 'cache')
    before = settings(tmp_path, cache=cache, parts=('main',))
    evaluate_run(files[0], before)
    evaluate_run(files[0], before)
    assert len(os.listdir(cache)) == 1
    now = before
    if change == 'results':
        write(files[0], made_detections(TRUTH, 10))
    elif change == 'annotations':
        data = copy.deepcopy(TRUTH)
        data['annotations'] = data['annotations'][:20]
        path = write(tmp_path / 'ann.json', data)
        os.utime(path, ns=(1, 1))
    elif change == 'format':
        monkeypatch.setattr(evaluate_module, '_FORMAT', 0)
    else:
        more = dict(categories='ids', groups=3, engine='pycocotools')
        now = EvaluationSettings(**{**vars(before), change: more[change]})
    evaluate_run(files[0], now)
    assert len(os.listdir(cache)) == 2


@pytest.mark.parametrize('damage', ['cut', 'empty', 'flipped', 'other'])
def test_a_damaged_cache_is_evaluated_and_written_anew(damage, files, tmp_path, monkeypatch):
    chosen = settings(tmp_path, cache=str(tmp_path / 'cache'), parts=('classes',))
    first = evaluate_run(files[0], chosen)
    (name,) = os.listdir(chosen.cache)
    path = tmp_path / 'cache' / name
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 3] ^= 1
    path.write_bytes(
        dict(
            cut=whole[: len(whole) // 2],
            empty=b'',
            flipped=flipped,
            other=b'[1, 2]',
        )[damage]
    )
    told = []
    monkeypatch.setattr(cache_module, 'print_log', lambda text, *args: told.append(text))
    same(first, evaluate_run(files[0], chosen))
    assert path.read_bytes() == whole
    same(first, evaluate_run(files[0], chosen))
    assert len(told) == 1 and 'is damaged: it is evaluated and written anew' in told[0]


def test_processes_and_progress(files, tmp_path):
    told = []
    chosen = settings(tmp_path, parts=('main', 'mistakes'))
    alone = evaluate_runs(files, chosen)
    together = evaluate_runs(files, chosen, workers=2, progress=lambda done, of: told.append((done, of)))
    for a, b in zip(alone, together, strict=True):
        same(a, b)
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_a_refused_file_ends_all(files, tmp_path):
    write(files[2], [dict(image_id=0)])
    with pytest.raises(EvaluationRefused, match='run2.json.*entry 0 has no category_id'):
        evaluate_runs(files, settings(tmp_path, parts=('main',)), workers=2)
    with pytest.raises(FileNotFoundError, match="no results file '.*run9.json'"):
        evaluate_runs([files[0], tmp_path / 'run9.json'], settings(tmp_path, parts=('main',)))
    with pytest.raises(FileNotFoundError, match="no annotation file 'none.json'"):
        evaluate_runs(files, EvaluationSettings('none.json'))


def test_groups():
    group = jackknife_groups(103)
    sizes = np.bincount(group)
    assert len(sizes) == 50 and set(sizes) == {2, 3}
    np.testing.assert_array_equal(group, jackknife_groups(103))
    assert (group != np.arange(103) % 50).any()
    assert sorted(jackknife_groups(5)) == [0, 1, 2, 3, 4]
    subsets = subsets_of(group)
    assert sum(len(subset) for subset in subsets) == 49 * 103
    for images, groups, text in ((1, 50, '1 image: an interval needs at least 2'), (9, 1, '1 group')):
        with pytest.raises(ValueError, match=text):
            jackknife_groups(images, groups)


def test_the_engine_is_part_of_the_version():
    assert all(engine_class(name).version for name in ENGINES)
