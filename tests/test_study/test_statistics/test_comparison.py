"""The comparisons of a whole study: pairing, missing runs, undefined metrics, Holm, words."""

from dataclasses import replace

import numpy as np
import pytest

from mmattn.study import Scores
from mmattn.study.statistics import Verdict, compare, holm, paired_difference, summarize
from tests.test_study.test_statistics.studies import random_scores


@pytest.fixture
def scores():
    return random_scores(np.random.default_rng(0), effects=(0, 0.08, 0.002))


def without(scores, *runs):
    values, jackknife = scores.values.copy(), scores.jackknife.copy()
    for variant, seed in runs:
        v, s = scores.variants.index(variant), scores.seeds.index(seed)
        values[:, v, s] = jackknife[:, v, s] = np.nan
    return replace(scores, values=values, jackknife=jackknife)


def of_variant(comparisons, variant, metric='bbox/AP'):
    (found,) = [each for each in comparisons if (each.variant, each.metric) == (variant, metric)]
    return found


def test_every_variant_is_paired_with_the_control(scores):
    comparisons = compare(scores, control='plain')
    assert [(each.metric, each.variant) for each in comparisons] == [
        ('bbox/AP', 'se'), ('bbox/AP', 'cbam'), ('bbox/AP50', 'se'), ('bbox/AP50', 'cbam'),
    ]  # fmt: skip
    found = of_variant(comparisons, 'se', 'bbox/AP50')
    expected = paired_difference(
        scores.values[1, 1] - scores.values[1, 0], scores.jackknife[1, 1] - scores.jackknife[1, 0]
    )
    assert found.parts == expected and (found.low, found.high) == expected.interval()
    assert found.verdict is Verdict.BETTER and found.words == 'better' and not found.note


def test_p_values_are_adjusted_within_a_metric(scores):
    for metric in scores.metrics:
        found = [each for each in compare(scores, control='plain') if each.metric == metric]
        assert [each.p_holm for each in found] == holm([each.p for each in found]).tolist()


def test_swapping_variant_and_control_flips_the_sign(scores):
    one = of_variant(compare(scores, control='plain'), 'se')
    other = of_variant(compare(scores, control='se'), 'plain')
    assert (other.low, other.high) == pytest.approx((-one.high, -one.low))
    assert other.verdict is Verdict.WORSE


def test_a_variant_that_changes_nothing(scores):
    values, jackknife = scores.values.copy(), scores.jackknife.copy()
    values[:, 1], jackknife[:, 1] = values[:, 0], jackknife[:, 0]
    found = of_variant(compare(replace(scores, values=values, jackknife=jackknife), 'plain'), 'se')
    assert found.words == 'no difference larger than 0.00 points' and found.p == 1 and found.detectable == 0


def test_common_seeds_are_paired(scores):
    fewer = without(scores, ('se', 1), ('plain', 3), ('cbam', 3))
    found = of_variant(compare(fewer, control='plain'), 'se')
    expected = of_variant(
        compare(without(scores, *((v, s) for v in scores.variants for s in (1, 3))), 'plain'), 'se'
    )
    assert found.seeds == (0, 2) and found.left_out == (1, 3)
    assert (found.low, found.high) == (expected.low, expected.high)
    assert found.note == 'paired on 2 seeds; without a run of both: 1, 3'
    # Seed 3 has neither run, so nothing of it is left out.
    assert of_variant(compare(fewer, control='plain'), 'cbam').left_out == ()
    assert of_variant(compare(fewer, control='plain'), 'cbam').seeds == (0, 1, 2)


def test_one_seed_makes_no_claim_about_new_seeds(scores):
    found = of_variant(compare(without(scores, *(('se', s) for s in (1, 2, 3))), 'plain'), 'se')
    assert 'not about new seeds' in found.note and 'without a run of both: 1, 2, 3' in found.note
    assert found.seeds_needed is None and not found.parts.new_seeds
    assert found.low < found.difference < found.high


def test_no_common_seed(scores):
    found = of_variant(
        compare(without(scores, ('se', 0), ('se', 1), ('plain', 2), ('plain', 3)), 'plain'), 'se'
    )
    assert found.words == 'cannot tell' and found.note == 'no seed has a run of both'
    assert np.isnan(found.low) and found.seeds == ()


def test_an_undefined_metric(scores):
    values, jackknife = scores.values.copy(), scores.jackknife.copy()
    values[1] = jackknife[1] = np.nan
    undefined = replace(scores, values=values, jackknife=jackknife)
    found = of_variant(compare(undefined, 'plain'), 'se', 'bbox/AP50')
    assert found.verdict is Verdict.UNDEFINED and np.isnan(found.p_holm)
    assert of_variant(compare(undefined, 'plain'), 'se').verdict is Verdict.BETTER


def test_a_metric_that_one_group_of_images_carries(scores):
    jackknife = scores.jackknife.copy()
    jackknife[0, ..., 5] = np.nan
    found = of_variant(compare(replace(scores, jackknife=jackknife), 'plain'), 'se')
    assert found.difference == pytest.approx((scores.values[0, 1] - scores.values[0, 0]).mean())
    assert np.isnan(found.low) and found.words == 'cannot tell' and 'one group of images' in found.note


def test_numbers_that_it_takes(scores):
    found = of_variant(compare(scores, 'plain', relevant=0.03), 'cbam')
    assert found.seeds_needed > 4 or found.detectable < 0.03
    larger = of_variant(compare(scores, 'plain', relevant=0.06), 'cbam')
    assert larger.images_needed < found.images_needed or found.images_needed is None
    assert compare(scores, 'plain', level=0.8)[0].high < compare(scores, 'plain')[0].high


def test_words_give_the_limit_in_points():
    scores = random_scores(np.random.default_rng(1))
    found = compare(scores, 'plain', relevant=0.1)[0]
    limit = 100 * max(-found.low, found.high)
    assert found.words == f'no difference larger than {limit:.2f} points'


@pytest.mark.parametrize(
    'changes, message',
    [
        (dict(control='plian'), "no variant 'plian' .* plain, se, cbam; did you mean 'plain'"),
        (dict(control='plain', level=95), 'level=95: .* such as 0.95'),
        (dict(control='plain', relevant=1.0), 'one AP point is 0.01'),
    ],
)
def test_mistakes(scores, changes, message):
    with pytest.raises(ValueError, match=message):
        compare(scores, **changes)


def test_summaries(scores):
    found = summarize(without(scores, ('se', 1), *(('cbam', s) for s in (0, 1, 2))))
    plain, se, cbam = found[:3]
    assert plain.mean == pytest.approx(scores.values[0, 0].mean())
    assert plain.spread == pytest.approx(scores.values[0, 0].std(ddof=1))
    assert se.seeds == (0, 2, 3) and se.mean == pytest.approx(scores.values[0, 1, [0, 2, 3]].mean())
    assert cbam.seeds == (3,) and np.isnan(cbam.spread)


def test_a_report_is_quick():
    """8 variants and 5 seeds; a report with all metrics of 80 classes has five times as many."""
    import time

    rng, metrics = np.random.default_rng(0), 50
    values = 0.4 + 0.01 * rng.standard_normal((metrics, 8, 5))
    jackknife = values[..., None] + 1e-4 * rng.standard_normal((metrics, 8, 5, 50))
    names = tuple(f'bbox/{i}' for i in range(metrics))
    scores = Scores(tuple('abcdefgh'), tuple(range(5)), 5000, names, values, jackknife)
    began = time.process_time()
    assert len(compare(scores, control='a')) == 7 * metrics
    assert time.process_time() - began < 10
