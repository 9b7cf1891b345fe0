"""The paired difference: Obuchowski and Rockette's variance, Cochran and Cox's quantile, what follows."""

import numpy as np
import pytest
from scipy import stats

from mmattn.study.statistics import jackknife_covariance, obuchowski_rockette, paired_difference
from tests.test_study.test_statistics.studies import random_parts


def analysed(seed=0, **settings):
    return paired_difference(*random_parts(np.random.default_rng(seed), **settings))


@pytest.mark.parametrize('seeds', [2, 3, 10])
def test_the_variance_is_that_of_obuchowski_and_rockette(seeds):
    rng = np.random.default_rng(seeds)
    (a, a_left_out), (b, b_left_out) = (random_parts(rng, seeds) for _ in range(2))
    covariance = jackknife_covariance(np.concatenate([a_left_out, b_left_out]))
    analysis = obuchowski_rockette(np.stack([a, b]), covariance.reshape(2, seeds, 2, seeds))
    found = paired_difference(a - b, a_left_out - b_left_out)
    shared = max(analysis.cov2 - analysis.cov3, 0)
    assert found.between_seeds == pytest.approx(2 * analysis.ms_interaction)
    assert found.shared_images == pytest.approx(2 * shared)
    assert found.own_images == pytest.approx(2 * (analysis.variance - analysis.cov1 - shared))
    error = analysis.difference(0, 1)['standard_error']
    assert found.standard_error == pytest.approx(max(error, found.images_only**0.5))


@pytest.mark.parametrize('level', [0.5, 0.95, 0.999])
def test_the_half_width_is_that_of_cochran_and_cox(level):
    differences, left_out = random_parts(np.random.default_rng(1), between=0.05)
    found = paired_difference(differences, left_out)
    covariance = 19 / 20 * np.cov(left_out) * 19
    shared = covariance[~np.eye(4, dtype=bool)].mean()
    seeds = differences.var(ddof=1) / 4
    t_seeds, t_images = stats.t.ppf((1 + level) / 2, [3, 19])
    expected = (seeds * t_seeds + shared * t_images) / (seeds + shared) * (seeds + shared) ** 0.5
    assert found.half_width(level) == pytest.approx(expected)
    assert found.interval(level) == pytest.approx((found.mean - expected, found.mean + expected))


def test_without_images_it_is_student_t():
    differences = np.array([0.01, 0.03, 0.02, -0.01])
    found = paired_difference(differences, np.repeat(differences[:, None], 20, 1))
    expected = stats.ttest_1samp(differences, 0)
    assert found.p == pytest.approx(expected.pvalue)
    assert found.interval() == pytest.approx(tuple(expected.confidence_interval()))


@pytest.mark.parametrize('seed', range(20))
def test_it_is_never_surer_than_for_these_seeds_alone(seed):
    differences, left_out = random_parts(np.random.default_rng(seed), seeds=3, between=0)
    found = paired_difference(differences, left_out)
    of_mean = jackknife_covariance(left_out.mean(0)[None])[0, 0]
    assert found.images_only >= of_mean * (1 - 1e-12)
    assert found.standard_error >= of_mean**0.5 * (1 - 1e-12)
    assert found.half_width() >= stats.t.ppf(0.975, 19) * of_mean**0.5 * (1 - 1e-12)


def test_seeds_that_agree_by_chance_do_not_make_it_sure():
    differences, left_out = random_parts(np.random.default_rng(0), seeds=3)
    alike = differences.mean() + 1e-9 * (differences - differences.mean())
    found = paired_difference(alike, left_out + (alike - differences)[:, None])
    assert found.standard_error == pytest.approx(found.images_only**0.5)
    assert found.half_width() == pytest.approx(stats.t.ppf(0.975, 19) * found.images_only**0.5)


def test_order_of_seeds_and_groups_does_not_count():
    differences, left_out = random_parts(np.random.default_rng(3))
    found = paired_difference(differences, left_out)
    other = paired_difference(differences[[2, 0, 3, 1]], left_out[[2, 0, 3, 1]][:, ::-1])
    assert other.interval() == pytest.approx(found.interval(), abs=1e-15)


def test_shift_scale_and_swap():
    differences, left_out = random_parts(np.random.default_rng(4))
    low, high = paired_difference(differences, left_out).interval()
    shifted = paired_difference(differences + 0.1, left_out + 0.1)
    scaled = paired_difference(5 * differences, 5 * left_out)
    swapped = paired_difference(-differences, -left_out)
    assert shifted.interval() == pytest.approx((low + 0.1, high + 0.1))
    assert scaled.interval() == pytest.approx((5 * low, 5 * high))
    assert swapped.interval() == pytest.approx((-high, -low))
    assert swapped.probability == pytest.approx(1 - paired_difference(differences, left_out).probability)


@pytest.mark.parametrize('mean', [-0.02, 0.001, 0.03])
def test_the_interval_of_level_one_minus_p_ends_at_zero(mean):
    found = analysed(5, mean=mean)
    assert found.half_width(1 - found.p) == pytest.approx(abs(found.mean), rel=1e-6)
    low, _ = found.interval(1 - 2 * (1 - found.probability)) if found.mean > 0 else (0, 0)
    assert low == pytest.approx(0, abs=1e-8)


def test_one_seed_says_nothing_of_new_seeds():
    differences, left_out = random_parts(np.random.default_rng(6), seeds=1)
    found = paired_difference(differences, left_out)
    error = jackknife_covariance(left_out)[0, 0] ** 0.5
    assert not found.new_seeds and np.isnan(found.between_seeds)
    assert found.standard_error == pytest.approx(error)
    assert found.half_width() == pytest.approx(stats.t.ppf(0.975, 19) * error)


@pytest.mark.parametrize('seeds', [1, 3])
def test_runs_that_are_equal(seeds):
    found = paired_difference(np.zeros(seeds), np.zeros((seeds, 20)))
    assert found.interval() == (0, 0) and found.p == 1 and found.probability == 0.5


def test_a_certain_difference_has_a_p_value_above_zero():
    found = analysed(0, mean=0.9, between=1e-6, own=1e-6, shared=1e-6, seeds=10, groups=50)
    assert 0 < found.p <= 1e-10 and found.probability > 0.999
