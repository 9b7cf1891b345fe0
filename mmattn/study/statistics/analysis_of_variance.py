"""The analysis of variance by Obuchowski and Rockette, with the degrees of freedom by Hillis.

It comes from radiology, where readers judge the same cases with several treatments. Here seeds are the
readers, images the cases and variants the treatments. The study's own intervals (``paired.py``) rest on its
variance.

- Obuchowski, N. A. and Rockette, H. E. (1995). Hypothesis testing of diagnostic accuracy for multiple
  readers and multiple tests. Communications in Statistics - Simulation and Computation 24.
- Hillis, S. L. (2007). A comparison of denominator degrees of freedom methods for multiple observer ROC
  analysis. Statistics in Medicine 26.
- Hillis, S. L. (2014). A marginal-mean ANOVA approach for analyzing multireader multicase radiological
  imaging data. Statistics in Medicine 33.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import fdtrc, stdtr, stdtrit


@dataclass(frozen=True)
class ObuchowskiRockette:
    """Mean squares and averaged covariances of the metrics of (variants, seeds).

    Args:
        means: Mean over seeds of each variant.
        seeds: Number of seeds.
        ms_variant: Mean square of variants.
        ms_interaction: Mean square of variant x seed.
        variance: Mean variance of a run that is due to images.
        cov1: Mean covariance of two runs with the same seed.
        cov2: Mean covariance of two runs of the same variant.
        cov3: Mean covariance of two runs that share neither.
    """

    means: tuple[float, ...]
    seeds: int
    ms_variant: float
    ms_interaction: float
    variance: float
    cov1: float
    cov2: float
    cov3: float

    @property
    def denominator(self) -> float:
        """What the mean square of variants is if there is no difference between them."""
        return self.ms_interaction + max(self.seeds * (self.cov2 - self.cov3), 0)

    @property
    def f(self) -> float:
        """F statistic of the hypothesis that all variants are equal."""
        return self.ms_variant / self.denominator

    @property
    def df(self) -> tuple[float, float]:
        """Degrees of freedom of ``f``; the second are those by Hillis."""
        variants = len(self.means)
        of_interaction = self.ms_interaction**2 / ((variants - 1) * (self.seeds - 1))
        return variants - 1, self.denominator**2 / of_interaction

    @property
    def p(self) -> float:
        """p value of ``f``."""
        return float(fdtrc(*self.df, self.f))

    def difference(self, first: int, second: int, level: float = 0.95) -> dict[str, float]:
        """Return the difference of two variants with standard error, t, p and interval."""
        mean, df = self.means[first] - self.means[second], self.df[1]
        error = (2 / self.seeds * self.denominator) ** 0.5
        half = -stdtrit(df, (1 - level) / 2) * error
        return dict(
            difference=mean,
            standard_error=error,
            t=mean / error,
            p=float(2 * stdtr(df, -abs(mean / error))),
            low=mean - half,
            high=mean + half,
        )


def obuchowski_rockette(values: np.ndarray, covariance: np.ndarray) -> ObuchowskiRockette:
    """Analyse one metric of several variants and seeds.

    Args:
        values: The metric, (variants, seeds), at least two of each.
        covariance: Covariance due to images, (variants, seeds, variants, seeds), as of a jackknife.

    Raises:
        ValueError: Shapes do not fit, or there is only one variant or seed.
    """
    variants, seeds = values.shape
    if min(variants, seeds) < 2:
        raise ValueError(f'{variants} variants and {seeds} seeds: an analysis of variance needs two of each')
    if covariance.shape != (variants, seeds, variants, seeds):
        raise ValueError(f'covariance has shape {covariance.shape}, not {(variants, seeds, variants, seeds)}')
    by_variant, by_seed = values.mean(1), values.mean(0)
    rest = values - by_variant[:, None] - by_seed + values.mean()
    same_variant = np.eye(variants, dtype=bool)[:, None, :, None]
    same_seed = np.eye(seeds, dtype=bool)[None, :, None, :]

    def mean_where(mask: np.ndarray) -> float:
        return float(covariance[np.broadcast_to(mask, covariance.shape)].mean())

    return ObuchowskiRockette(
        means=tuple(by_variant.tolist()),
        seeds=seeds,
        ms_variant=float(seeds * by_variant.var(ddof=1)),
        ms_interaction=float((rest**2).sum() / ((variants - 1) * (seeds - 1))),
        variance=mean_where(same_variant & same_seed),
        cov1=mean_where(~same_variant & same_seed),
        cov2=mean_where(same_variant & ~same_seed),
        cov3=mean_where(~same_variant & ~same_seed),
    )
