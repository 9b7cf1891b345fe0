"""The jackknife of a mean is its textbook variance."""

import numpy as np
import pytest

from mmattn.study.statistics import jackknife_covariance


def test_of_means_it_is_the_sample_covariance_over_n():
    samples = np.random.default_rng(0).standard_normal((3, 40))
    left_out = np.stack([np.delete(samples, i, 1).mean(1) for i in range(40)], 1)
    assert jackknife_covariance(left_out) == pytest.approx(np.cov(samples) / 40, abs=1e-14)
