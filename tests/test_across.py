"""The mean of several suites' numbers: strata, shared prompts, weights, missing intervals."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from recorded import changed
from scored import TOY, published, toy_result

from rmbench.accuracy.aggregate import Accuracy
from rmbench.accuracy.clusters import credit_interval, sample_of
from rmbench.answers.judgements import Judgements
from rmbench.compare.across import SuiteNumber, group_mean
from rmbench.result.record import Result

WON = [1.0, -1.0] * 77 + [1.0]
BETTER = [1.0] * 155


def of(margins: Sequence[float], clusters: np.ndarray | None = None) -> Result:
    result = toy_result(margins)
    if clusters is None:
        return result
    return changed(result, rewards=Judgements.of(result.rewards).in_clusters(clusters))


def mean(
    *results: Result, number: str = "pooled", weights: Sequence[float] = (1.0, 1.0)
) -> Accuracy:
    return group_mean(
        [SuiteNumber(r, TOY, number, w) for r, w in zip(results, weights, strict=True)]
    )


def test_suites_without_a_shared_prompt_are_strata() -> None:
    found = mean(of(WON), of(BETTER))
    credits = np.concatenate([np.array(WON) > 0, np.ones(155)]).astype(float)
    # Pooled: the subsets of each suite weigh as many as they have.
    strata = np.repeat(range(8), [40, 25, 30, 60] * 2)
    by_hand = sample_of(credits, strata, weights=[40, 25, 30, 60] * 2)
    expected = credit_interval(by_hand)
    assert (found.accuracy, found.low, found.high) == pytest.approx(
        (expected.mean, *expected.interval)
    )
    assert found.accuracy == pytest.approx((78 / 155 + 1.0) / 2)


def test_prompts_that_two_suites_share_widen_the_interval() -> None:
    clusters = np.arange(155)
    shared = mean(of(WON, clusters), of(WON, clusters))
    apart = mean(of(WON, clusters), of(WON, clusters + 155))
    widths = [(item.high or 0.0) - (item.low or 0.0) for item in (shared, apart)]
    assert widths[0] == pytest.approx(widths[1] * math.sqrt(2), rel=0.03)
    alone = of(WON).averages["pooled"]
    assert (shared.low, shared.high) == pytest.approx((alone.low, alone.high), abs=2e-3)


def test_weights_are_those_of_the_mean_and_sections_keep_theirs() -> None:
    one, two = of(WON), of(BETTER)
    found = mean(one, two, number="Y", weights=(3.0, 1.0))
    assert found.accuracy == pytest.approx(0.75 * one.sections["Y"].accuracy + 0.25)
    assert found.n == 2 * 90


def test_published_numbers_have_a_mean_without_an_interval() -> None:
    card = published({"X": 0.9, "Y": 0.8, "pooled": 0.85})
    found = mean(of(WON), card)
    assert found.accuracy == pytest.approx((78 / 155 + 0.85) / 2)
    assert found.low is None and found.high is None
