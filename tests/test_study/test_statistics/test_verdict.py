"""What is said of an interval."""

import math

import pytest

from mmattn.study.statistics import Verdict
from mmattn.study.statistics.verdict import verdict


@pytest.mark.parametrize(
    'low, high, p, expected',
    [
        (0.01, 0.03, 0.01, Verdict.BETTER),
        (-0.03, -0.01, 0.01, Verdict.WORSE),
        (0.001, 0.03, 0.08, Verdict.CANNOT_TELL),  # above zero alone, not among so many variants
        (-0.02, 0.004, 0.3, Verdict.CANNOT_TELL),
        (-0.009, 0.004, 0.6, Verdict.NO_LARGE_DIFFERENCE),
        (0.001, 0.004, 0.02, Verdict.BETTER),  # small, but there
        (0.0, 0.0, 1.0, Verdict.NO_LARGE_DIFFERENCE),
        (math.nan, math.nan, math.nan, Verdict.CANNOT_TELL),
    ],
)
def test_verdicts(low, high, p, expected):
    assert verdict(low, high, p, relevant=0.01) is expected
