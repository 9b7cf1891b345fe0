"""Against MRMCaov 0.3.0 (R 4.2.2) on the study by Van Dyke et al. (1993), which that package distributes.

Five readers, two treatments, 114 cases, empirical AUC, jackknife over cases, random readers and cases.
``vandyke_covariance.csv`` is the jackknife's covariance of the ten AUCs, as MRMCaov gives it. The ratings
themselves are in MMATTN_TEST_DATA.
"""

import csv
from pathlib import Path

import numpy as np
import pytest

from mmattn.study.statistics import jackknife_covariance, obuchowski_rockette, paired_difference

AUC = np.array(
    [
        [0.9196457326892109, 0.8587761674718196, 0.903864734299517, 0.973107890499195, 0.8297906602254429],
        [0.9478260869565217, 0.9053140096618358, 0.9217391304347826, 0.9993558776167472, 0.9299516908212561],
    ]
)
EXACT = dict(rel=0, abs=1e-10)


@pytest.fixture(scope='module')
def covariance():
    with open(Path(__file__).with_name('vandyke_covariance.csv')) as file:
        rows = list(csv.reader(file))[1:]
    return np.array([row[1:] for row in rows], float)


@pytest.fixture(scope='module')
def analysis(covariance):
    return obuchowski_rockette(AUC, covariance.reshape(2, 5, 2, 5))


@pytest.mark.parametrize(
    'name, value',
    [
        ('ms_variant', 0.004796170531660259),
        ('ms_interaction', 0.00055103062174405889),
        ('variance', 0.00080228826557206094),
        ('cov1', 0.00034661370944072872),
        ('cov2', 0.000344074828860886),
        ('cov3', 0.00023902837089215175),
        ('f', 4.4563186931572583),
        ('df', (1, 15.259674589141575)),
        ('p', 0.051665685819294427),
    ],
)
def test_the_analysis_of_variance(analysis, name, value):
    assert getattr(analysis, name) == pytest.approx(value, **EXACT)


def test_the_difference(analysis):
    expected = dict(
        difference=-0.043800322061191554,
        standard_error=0.020748618378944948,
        t=-2.1109994536136805,
        p=0.051665685819294427,
        low=-0.08795949856655449484,
        high=0.00035885444417137896,
    )
    assert analysis.difference(0, 1) == pytest.approx(expected, **EXACT)


def test_the_ratings_give_these_numbers(test_data, covariance):
    """From ratings over AUCs and the jackknife to the study's own standard error."""
    if not (test_data / 'vandyke').is_dir():
        pytest.skip('no vandyke in MMATTN_TEST_DATA')
    with open(test_data / 'vandyke/ratings.csv') as file:
        rows = [{name: int(value) for name, value in row.items()} for row in csv.DictReader(file)]
    ratings, truth = np.zeros((2, 5, 114)), np.zeros(114, int)
    for row in rows:
        ratings[row['treatment'] - 1, row['reader'] - 1, row['case'] - 1] = row['rating']
        truth[row['case'] - 1] = row['truth']
    left_out = np.stack([auc(np.delete(ratings, i, 2), np.delete(truth, i)) for i in range(114)], -1)
    assert auc(ratings, truth) == pytest.approx(AUC, **EXACT)
    assert jackknife_covariance(left_out.reshape(10, 114)) == pytest.approx(covariance, **EXACT)
    found = paired_difference(AUC[0] - AUC[1], left_out[0] - left_out[1])
    assert found.standard_error == pytest.approx(0.020748618378944948, **EXACT)
    assert found.mean == pytest.approx(-0.043800322061191554, **EXACT)


def auc(ratings, truth):
    first, second = ratings[..., truth == 1, None], ratings[..., None, truth == 0]
    return ((first > second) + (first == second) / 2).mean((-1, -2))


def test_two_of_each_are_needed(covariance):
    with pytest.raises(ValueError, match='2 variants and 1 seeds'):
        obuchowski_rockette(AUC[:, :1], covariance[:2, :2].reshape(2, 1, 2, 1))
    with pytest.raises(ValueError, match=r'shape \(10, 10\), not \(2, 5, 2, 5\)'):
        obuchowski_rockette(AUC, covariance)
