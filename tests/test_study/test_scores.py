"""Scores refuse what cannot be the metrics of a study."""

import numpy as np
import pytest

from mmattn.study import Scores


def arguments(**changes):
    values = dict(
        variants=('plain', 'se'),
        seeds=(0, 1, 2),
        images=40,
        metrics=('bbox/AP',),
        values=np.full((1, 2, 3), 0.4),
        jackknife=np.full((1, 2, 3, 20), 0.4),
    )
    return values | changes


def with_value(value):
    values = np.full((1, 2, 3), 0.4)
    values[0, 1, 2] = value
    return values


def test_scores_keep_what_they_are_given():
    given = arguments(variants=['plain', 'se'])
    scores = Scores(**given)
    given['values'][:] = 0
    assert scores.variants == ('plain', 'se') and scores.groups == 20
    assert (scores.values == 0.4).all() and not scores.values.flags.writeable


def test_undefined_metrics_and_missing_runs_are_nan():
    assert np.isnan(Scores(**arguments(values=with_value(np.nan))).values[0, 1, 2])


@pytest.mark.parametrize(
    'changes, error, message',
    [
        (dict(variants=('se', 'se')), ValueError, 'variants repeats se'),
        (dict(metrics='AP'), ValueError, "metrics is the single string 'AP'"),
        (dict(seeds=()), ValueError, 'seeds is empty'),
        (dict(seeds=(0, 1, '2')), TypeError, "integers, not '2'"),
        (dict(images=40.0), TypeError, 'integers, not 40.0'),
        (dict(images=10), ValueError, '20 groups of 10 images'),
        (dict(values=np.zeros((2, 3))), ValueError, r'not \(metrics, variants, seeds\) = \(1, 2, 3\)'),
        (dict(jackknife=np.zeros((1, 2, 3))), ValueError, r'jackknife has shape \(1, 2, 3\)'),
        (dict(jackknife=np.zeros((1, 2, 3, 1))), ValueError, 'at least 2 groups'),
        (dict(values=with_value(-1)), ValueError, 'bbox/AP of se, seed 2, is -1; .* NaN'),
        (dict(values=with_value(37.4)), ValueError, 'bbox/AP of se, seed 2, is 37.4; .* fractions'),
        (dict(values=with_value(np.inf)), ValueError, 'is inf'),
    ],
)
def test_what_cannot_be_is_refused(changes, error, message):
    with pytest.raises(error, match=message):
        Scores(**arguments(**changes))
