"""The difference of two variants on the same seeds and images: its variance, interval and p value.

Seeds and images are crossed random factors: each of the paired differences has its own seed, all have the
same images. The variance of their mean is that of Obuchowski and Rockette. The critical value is that of
Cochran and Cox, which keeps its level with few seeds; docs/study_statistics.md derives it and compares it
with others.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import stdtrit

from mmattn.study.statistics.jackknife import jackknife_covariance

SMALLEST_P = 1e-12


@dataclass(frozen=True)
class PairedDifference:
    """A mean difference and the parts of its variance.

    Args:
        mean: Mean of the paired differences over seeds.
        seeds: Number of seeds.
        groups: Number of groups of images of the jackknife.
        between_seeds: Variance of the paired differences, from seed to seed; NaN with one seed.
        own_images: The part of it that is due to images, which suit one seed more than another.
        shared_images: Variance that the images give to the differences of all seeds alike.
    """

    mean: float
    seeds: int
    groups: int
    between_seeds: float
    own_images: float
    shared_images: float

    @property
    def images_only(self) -> float:
        """Variance of the mean for new images, the seeds being these."""
        return self.own_images / self.seeds + self.shared_images

    @property
    def new_seeds(self) -> bool:
        """True if the interval is about new seeds too, which takes at least two."""
        return self.seeds > 1

    @property
    def standard_error(self) -> float:
        """Standard error for new seeds and new images; never below that for new images only."""
        if not self.new_seeds:
            return self.images_only**0.5
        variance = self.between_seeds / self.seeds + self.shared_images
        return max(variance, self.images_only) ** 0.5

    def half_width(self, level: float = 0.95) -> float:
        """Half the width of the interval at a level of confidence."""
        return half_width(
            level, self.seeds, self.groups, self.between_seeds, self.own_images, self.shared_images
        )

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """The interval at a level of confidence."""
        half = float(self.half_width(level))
        return self.mean - half, self.mean + half

    @property
    def p(self) -> float:
        """Two-sided p value of no difference: one minus the level at which the interval ends at zero."""
        size = abs(self.mean)
        if self.half_width(0) >= size:  # both are zero
            return 1.0
        if self.half_width(1 - SMALLEST_P) <= size:
            return SMALLEST_P

        def excess(log_p: float) -> float:
            return self.half_width(-math.expm1(log_p)) - size

        return math.exp(brentq(excess, math.log(SMALLEST_P), 0, xtol=1e-10))

    @property
    def probability(self) -> float:
        """Probability that the mean difference over all seeds and images is above zero.

        It is one minus the one-sided p value: the confidence in an interval from zero to infinity. It is not
        the probability that one more training will be better.
        """
        return 1 - self.p / 2 if self.mean > 0 else self.p / 2


def half_width(
    level: float,
    seeds: int,
    groups: int,
    between_seeds: float | np.ndarray,
    own_images: float,
    shared_images: float,
) -> float | np.ndarray:
    """Return half the width of an interval from the parts of the variance; see :class:`PairedDifference`."""
    tail = (1 - level) / 2
    t_images = -stdtrit(groups - 1, tail)
    images_only = t_images * np.sqrt(own_images / seeds + shared_images)
    if seeds == 1:
        return images_only
    of_seeds = between_seeds / seeds
    variance = of_seeds + shared_images
    # Cochran and Cox: the quantiles of both estimates, weighted by their share of the variance.
    product = of_seeds * -stdtrit(seeds - 1, tail) + shared_images * t_images
    return np.maximum(product / np.sqrt(np.where(variance > 0, variance, 1)), images_only)


def paired_difference(differences: np.ndarray, left_out: np.ndarray) -> PairedDifference:
    """Analyse the paired differences of a metric.

    Args:
        differences: Variant minus control, (seeds,).
        left_out: The same with one group of images left out, (seeds, groups).
    """
    seeds, groups = left_out.shape
    covariance = jackknife_covariance(left_out)
    variance = covariance.trace() / seeds
    shared = (covariance.sum() - covariance.trace()) / (seeds * (seeds - 1)) if seeds > 1 else 0.0
    shared = max(float(shared), 0.0)
    return PairedDifference(
        mean=float(differences.mean()),
        seeds=seeds,
        groups=groups,
        between_seeds=float(differences.var(ddof=1)) if seeds > 1 else math.nan,
        own_images=max(float(variance) - shared, 0.0),
        shared_images=shared,
    )
