"""A comparison in words."""

from __future__ import annotations

import enum
import math


class Verdict(enum.Enum):
    """What a comparison with the control allows to say."""

    BETTER = 'better'
    WORSE = 'worse'
    NO_LARGE_DIFFERENCE = 'no difference larger than'
    CANNOT_TELL = 'cannot tell'
    UNDEFINED = 'undefined'


def verdict(low: float, high: float, p_holm: float, relevant: float, level: float = 0.95) -> Verdict:
    """Return the verdict of a comparison.

    Args:
        low: Lower end of the interval of the difference.
        high: Upper end.
        p_holm: p value, adjusted for the number of variants.
        relevant: The smallest difference that matters.
        level: Level of the interval.
    """
    if math.isnan(low):
        return Verdict.CANNOT_TELL
    if p_holm <= 1 - level:
        return Verdict.BETTER if low + high > 0 else Verdict.WORSE
    if max(-low, high) <= relevant:
        return Verdict.NO_LARGE_DIFFERENCE
    return Verdict.CANNOT_TELL
