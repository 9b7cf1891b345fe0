"""Holm's p values against the procedure as it is told: step by step, for every level."""

import numpy as np
import pytest

from mmattn.study.statistics import holm


def rejected(p, level):
    """Go from the smallest p value up, and stop at the first that is above level / those that are left."""
    order = sorted(range(len(p)), key=lambda i: p[i])
    for step, i in enumerate(order):
        if p[i] > level / (len(p) - step):
            return set(order[:step])
    return set(order)


@pytest.mark.parametrize('number', [1, 2, 5])
def test_the_same_is_rejected_at_every_level(number):
    rng = np.random.default_rng(number)
    for _ in range(50):
        p = rng.random(number) ** 3
        for level in rng.random(10):
            assert set(np.flatnonzero(holm(p) <= level)) == rejected(p, level)


def test_nan_is_no_comparison():
    assert holm([0.01, np.nan, 0.04]) == pytest.approx([0.02, np.nan, 0.04], nan_ok=True)


def test_no_p_value_exceeds_one():
    assert holm([0.6, 0.9]).tolist() == [1, 1]
