"""Compare the variants of a study with its control, metric by metric."""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass, replace

import numpy as np

from mmattn.study.scores import Scores
from mmattn.study.statistics.corrections import holm
from mmattn.study.statistics.paired import PairedDifference, paired_difference
from mmattn.study.statistics.planning import detectable, images_needed, seeds_needed
from mmattn.study.statistics.verdict import Verdict, verdict

POINT = 0.01
"""One AP point: the difference that matters by default, for which seeds and images needed are given."""


@dataclass(frozen=True)
class Summary:
    """A metric of one variant, over its seeds.

    Args:
        metric: Name of the metric.
        variant: Name of the variant.
        seeds: Seeds whose run has the metric.
        mean: Mean over them; NaN if there are none.
        spread: Standard deviation over them; NaN with fewer than two.
    """

    metric: str
    variant: str
    seeds: tuple[int, ...]
    mean: float
    spread: float


@dataclass(frozen=True)
class Comparison:
    """A metric of one variant against the control. What is not known is NaN or None.

    Args:
        metric: Name of the metric.
        variant: Name of the variant.
        control: Name of the control.
        seeds: Seeds with a run of both, on which the comparison rests.
        left_out: Seeds of which one of the two has no run.
        difference: Mean of variant minus control.
        low: Lower end of the interval.
        high: Upper end.
        level: Level of the interval.
        p: Two-sided p value of no difference.
        p_holm: The same, adjusted for the number of variants.
        probability: Probability that the difference over all seeds and images is above zero, see
            :class:`~mmattn.study.statistics.PairedDifference`.
        detectable: The smallest true difference that a study of this size finds in 4 of 5 cases.
        seeds_needed: Seeds that it takes to find a difference of ``relevant`` on these images.
        images_needed: Images that it takes with these seeds.
        relevant: The difference that matters.
        verdict: The answer.
        parts: The parts of the variance.
        note: What restricts the answer, in words; empty if nothing does.
    """

    metric: str
    variant: str
    control: str
    seeds: tuple[int, ...]
    left_out: tuple[int, ...]
    difference: float = math.nan
    low: float = math.nan
    high: float = math.nan
    level: float = 0.95
    p: float = math.nan
    p_holm: float = math.nan
    probability: float = math.nan
    detectable: float = math.nan
    seeds_needed: int | None = None
    images_needed: int | None = None
    relevant: float = POINT
    verdict: Verdict = Verdict.UNDEFINED
    parts: PairedDifference | None = None
    note: str = ''

    @property
    def words(self) -> str:
        """The verdict as one reads it, differences in points."""
        if self.verdict is Verdict.NO_LARGE_DIFFERENCE:
            return f'{self.verdict.value} {100 * abs(max(-self.low, self.high)):.2f} points'
        return self.verdict.value


def summarize(scores: Scores) -> list[Summary]:
    """Return mean and spread of every metric of every variant."""
    summaries = []
    for metric, of_metric in zip(scores.metrics, scores.values):
        for variant, values in zip(scores.variants, of_metric):
            there = ~np.isnan(values)
            seeds = tuple(seed for seed, is_there in zip(scores.seeds, there) if is_there)
            summaries.append(
                Summary(
                    metric,
                    variant,
                    seeds,
                    mean=float(values[there].mean()) if len(seeds) else math.nan,
                    spread=float(values[there].std(ddof=1)) if len(seeds) > 1 else math.nan,
                )
            )
    return summaries


def compare(scores: Scores, control: str, level: float = 0.95, relevant: float = POINT) -> list[Comparison]:
    """Compare every variant with the control in every metric.

    Each is paired with the control on the seeds that both have. The p values of one metric are adjusted for
    the number of variants by Holm's procedure, and the verdicts rest on these; intervals are not adjusted.

    Args:
        scores: The metrics of all runs.
        control: Name of the variant to compare with.
        level: Level of the intervals.
        relevant: The smallest difference that matters, as a fraction: one AP point by default.

    Returns:
        A comparison for each metric and variant but the control, in the order of ``scores``.

    Raises:
        ValueError: There is no such variant, or a number is out of range.

    Example:
        >>> import numpy as np
        >>> from mmattn.study import Scores
        >>> from mmattn.study.statistics import compare
        >>> rng = np.random.default_rng(0)
        >>> images = rng.normal(0, .002, (1, 2, 1, 40)) + rng.normal(0, .001, (1, 2, 5, 40))
        >>> values = np.array([[[.30, .31, .30, .31, .30], [.34, .34, .33, .35, .34]]])
        >>> scores = Scores(('plain', 'se'), (0, 1, 2, 3, 4), 400, ('bbox/AP',), values,
        ...                 values[..., None] + images)
        >>> answer, = compare(scores, control='plain')
        >>> f'{answer.difference:.3f} [{answer.low:.3f}, {answer.high:.3f}]', answer.words
        ('0.036 [0.000, 0.072]', 'better')
    """
    if control not in scores.variants:
        near = difflib.get_close_matches(control, scores.variants, 1)
        hint = f'; did you mean {near[0]!r}?' if near else ''
        raise ValueError(
            f'no variant {control!r} to compare with; there are {", ".join(scores.variants)}{hint}'
        )
    if not 0 < level < 1:
        raise ValueError(f'level={level}: a level of confidence lies between 0 and 1, such as 0.95')
    if not 0 < relevant < 1:
        raise ValueError(f'relevant={relevant}: give a difference as a fraction; one AP point is 0.01')
    others = [variant for variant in scores.variants if variant != control]
    comparisons = []
    for metric in scores.metrics:
        found = [_compare(scores, metric, variant, control, level, relevant) for variant in others]
        for each, p_holm in zip(found, holm([each.p for each in found])):
            if each.verdict is not Verdict.UNDEFINED:
                each = replace(
                    each,
                    p_holm=float(p_holm),
                    verdict=verdict(each.low, each.high, p_holm, relevant, level),
                )
            comparisons.append(each)
    return comparisons


def _compare(
    scores: Scores, metric: str, variant: str, control: str, level: float, relevant: float
) -> Comparison:
    """Compare one metric of one variant; Holm's correction and the verdict are still missing."""
    m = scores.metrics.index(metric)
    v, c = scores.variants.index(variant), scores.variants.index(control)
    there = ~np.isnan(scores.values[m, [v, c]])
    both, either = there.all(0), there.any(0)
    comparison = Comparison(
        metric,
        variant,
        control,
        seeds=tuple(seed for seed, is_there in zip(scores.seeds, both) if is_there),
        left_out=tuple(seed for seed, is_there in zip(scores.seeds, either & ~both) if is_there),
        level=level,
        relevant=relevant,
    )
    if not both.any():
        note = 'no seed has a run of both' if either.any() else 'the metric is undefined: nothing to evaluate'
        answer = Verdict.CANNOT_TELL if either.any() else Verdict.UNDEFINED
        return replace(comparison, verdict=answer, note=note)
    differences = scores.values[m, v, both] - scores.values[m, c, both]
    left_out = scores.jackknife[m, v, both] - scores.jackknife[m, c, both]
    comparison = replace(comparison, difference=float(differences.mean()), verdict=Verdict.CANNOT_TELL)
    if np.isnan(left_out).any():
        return replace(comparison, note='no interval: all images that show it are in one group of images')
    parts = paired_difference(differences, left_out)
    low, high = parts.interval(level)
    return replace(
        comparison,
        low=low,
        high=high,
        p=parts.p,
        probability=parts.probability,
        detectable=detectable(parts, scores.images, level=level),
        seeds_needed=seeds_needed(relevant, parts, scores.images, level=level) if parts.new_seeds else None,
        images_needed=images_needed(relevant, parts, scores.images, level=level),
        parts=parts,
        note=_note(comparison, parts),
    )


def _note(comparison: Comparison, parts: PairedDifference) -> str:
    notes = []
    if not parts.new_seeds:
        notes.append('one seed: the interval is about new images for these two runs, not about new seeds')
    if comparison.left_out:
        notes.append(
            f'paired on {len(comparison.seeds)} seeds; without a run of both: '
            + ', '.join(map(str, comparison.left_out))
        )
    return '; '.join(notes)
