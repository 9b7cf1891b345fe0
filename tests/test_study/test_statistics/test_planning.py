"""Power, detectable differences and needed numbers, against studies drawn from the parts of the variance."""

import math

import numpy as np
import pytest

from mmattn.study.statistics import PairedDifference, detectable, images_needed, power, seeds_needed
from mmattn.study.statistics.paired import half_width

FOUND = PairedDifference(
    mean=0.01, seeds=5, groups=50, between_seeds=4e-5, own_images=3e-5, shared_images=1e-5
)


@pytest.mark.parametrize('seeds, images', [(5, 1000), (3, 1000), (10, 4000)])
def test_power_is_how_often_the_interval_is_above_zero(seeds, images):
    rng, number, fewer = np.random.default_rng(seeds), 20_000, 1000 / images
    own, shared, of_seeds = 3e-5 * fewer, 1e-5 * fewer, 1e-5
    between = (of_seeds + own) * rng.chisquare(seeds - 1, number) / (seeds - 1)
    mean = 0.01 + math.sqrt((of_seeds + own) / seeds + shared) * rng.standard_normal(number)
    share = (mean > half_width(0.95, seeds, 50, between, own, shared)).mean()
    assert power(0.01, FOUND, 1000, seeds, images) == pytest.approx(share, abs=4 * 0.5 / number**0.5)


def test_without_images_power_is_that_of_a_t_test():
    from scipy import stats

    found = PairedDifference(0.0, 4, 50, between_seeds=1e-4, own_images=0.0, shared_images=0.0)
    expected = stats.nct.sf(stats.t.ppf(0.975, 3), 3, 0.015 / 0.005)
    assert power(0.015, found, 1000) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize('wanted', [0.5, 0.8, 0.95])
def test_the_detectable_difference_has_the_wanted_power(wanted):
    size = detectable(FOUND, 1000, wanted)
    assert power(size, FOUND, 1000) == pytest.approx(wanted, abs=1e-5)


def test_needed_numbers_are_the_smallest():
    seeds = seeds_needed(0.012, FOUND, 1000)
    assert power(0.012, FOUND, 1000, seeds) >= 0.8 > power(0.012, FOUND, 1000, seeds - 1)
    images = images_needed(0.012, FOUND, 1000)
    assert power(0.012, FOUND, 1000, None, images) >= 0.8 > power(0.012, FOUND, 1000, None, images - 1)


def test_neither_seeds_nor_images_alone_reach_everything():
    assert seeds_needed(0.005, FOUND, 1000) is None  # the images set the limit
    assert images_needed(0.005, FOUND, 1000) is None  # the seeds do


@pytest.mark.parametrize('change', ['between_seeds', 'own_images', 'shared_images'])
def test_a_noisier_study_sees_less(change):
    from dataclasses import replace

    noisier = replace(FOUND, **{change: 4 * getattr(FOUND, change)})
    assert detectable(noisier, 1000) > detectable(FOUND, 1000)


def test_one_seed_and_equal_runs():
    single = PairedDifference(0.0, 1, 50, math.nan, own_images=1e-4, shared_images=0.0)
    assert power(detectable(single, 100), single, 100) == pytest.approx(0.8, abs=1e-5)
    equal = PairedDifference(0.0, 3, 50, 0.0, 0.0, 0.0)
    assert detectable(equal, 100) == 0 and seeds_needed(0.01, equal, 100) == 2
