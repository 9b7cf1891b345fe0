"""Other intervals for the difference of two variants, with which the study's own is compared."""

from __future__ import annotations

from collections.abc import Callable

from scipy.special import ndtri, stdtrit

from mmattn.study.statistics import ObuchowskiRockette, PairedDifference

LEVEL = 0.95


def quantile(df: float, level: float) -> float:
    """Return the quantile of t for a two-sided interval."""
    return -float(stdtrit(df, (1 - level) / 2))


def over_seeds(parts: PairedDifference, level: float = LEVEL) -> float:
    """Student's t over the paired differences of the seeds: what is usually done, if anything is."""
    return quantile(parts.seeds - 1, level) * (parts.between_seeds / parts.seeds) ** 0.5


def one_pair(parts: PairedDifference, level: float = LEVEL) -> float:
    """Images drawn anew for one run of each variant: a bootstrap over images has this standard error."""
    assert parts.seeds == 1
    return -float(ndtri((1 - level) / 2)) * parts.images_only**0.5


def images_only(parts: PairedDifference, level: float = LEVEL) -> float:
    """Images drawn anew, the seeds as they are."""
    return quantile(parts.groups - 1, level) * parts.images_only**0.5


def hillis(parts: PairedDifference, level: float = LEVEL) -> float:
    """Obuchowski and Rockette with the degrees of freedom by Hillis."""
    of_seeds = parts.between_seeds / parts.seeds
    variance = of_seeds + parts.shared_images
    df = variance**2 / (of_seeds**2 / (parts.seeds - 1))
    return quantile(df, level) * variance**0.5


def v3(parts: PairedDifference, level: float = LEVEL) -> float:
    """The same with a floor under the variance over seeds, and degrees of freedom for the jackknife."""
    measured = parts.between_seeds / parts.seeds
    of_seeds = max(measured, parts.own_images / parts.seeds)
    variance = of_seeds + parts.shared_images
    df = variance**2 / (of_seeds**2 / (parts.seeds - 1) + (variance - measured) ** 2 / (parts.groups - 1))
    return quantile(df, level) * variance**0.5


def shipped(parts: PairedDifference, level: float = LEVEL) -> float:
    """The study's own: Obuchowski and Rockette with critical values by Cochran and Cox, and a floor."""
    return float(parts.half_width(level))


def pooled(analysis: ObuchowskiRockette) -> float:
    """Obuchowski and Rockette with Hillis' degrees of freedom, variances pooled over all variants."""
    found = analysis.difference(0, 1)
    return (found['high'] - found['low']) / 2


METHODS: dict[str, Callable[..., float]] = {
    't over seeds': over_seeds,
    'images, all seeds': images_only,
    'OR, Hillis': hillis,
    'v3': v3,
    'shipped': shipped,
}
