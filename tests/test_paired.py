"""Differences of two results, against scipy, statsmodels and simulation."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm
from statsmodels.stats.proportion import confint_proportions_2indep, proportions_ztest

from rmbench.accuracy.clusters import sample_of
from rmbench.accuracy.signs import mcnemar
from rmbench.compare import paired as diff

HARD = [37, 100, 134, 92, 47, 46]

credits_in_strata = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from([-1.0, -0.5, 0.0, 0.0, 0.5, 1.0])),
    min_size=1,
    max_size=40,
)


def _compare(rows: list[tuple[int, float]]) -> diff.Difference:
    present = sorted({stratum for stratum, _ in rows})
    return difference(
        [d for _, d in rows],
        [present.index(stratum) for stratum, _ in rows],
        [stratum + 1.0 for stratum in present],
    )


def difference(
    d: npt.ArrayLike,
    strata: npt.ArrayLike,
    weights: npt.ArrayLike,
    clusters: npt.ArrayLike | None = None,
) -> diff.Difference:
    return diff.paired_difference(sample_of(d, strata, weights=weights, clusters=clusters))


def test_the_estimate_is_the_weighted_mean_of_strata() -> None:
    # Strata: (1 + 0) / 2 = 0.5 with weight 3, (-1 + 0 + 0 + 0) / 4 = -0.25 with weight 1.
    result = difference([1, 0, -1, 0, 0, 0], [0, 0, 1, 1, 1, 1], [3, 1])
    assert result.estimate == pytest.approx((3 * 0.5 - 0.25) / 4)
    # Plain floats, which json and repr show as numbers.
    numbers = [result.estimate, *result.interval, result.p_value, result.p_drop]
    assert {type(number) for number in numbers} == {float}


def test_one_plain_stratum_is_tested_by_mcnemars_test() -> None:
    result = difference([1.0] * 3 + [-1.0] * 12 + [0.0] * 45, [0] * 60, [1])
    assert result.p_value == mcnemar(3, 12)


def test_clusters_of_one_change_nothing() -> None:
    d = np.random.default_rng(1).choice([-1.0, 0.0, 1.0], size=200)
    strata = np.arange(200) % 3
    alone = difference(d, strata, [1, 2, 3])
    assert difference(d, strata, [1, 2, 3], np.arange(200)[::-1]) == alone


def test_a_cluster_has_one_sign() -> None:
    # Eight prompts of six rows each; all rows of a prompt change together: 1 against 7.
    steps = np.repeat([1.0] + [-1.0] * 7, 6)
    result = difference(steps, np.zeros(48, int), [1], np.repeat(range(8), 6))
    assert result.p_value == mcnemar(1, 7)
    assert result.design > 3.0
    assert difference(steps, np.zeros(48, int), [1]).p_value < 1e-6


@given(st.lists(st.integers(0, 3), min_size=1, max_size=50))
def test_a_result_compared_with_itself_differs_by_0_with_p_1(strata: list[int]) -> None:
    result = _compare([(stratum, 0.0) for stratum in strata])
    assert result.estimate == 0.0
    assert (result.p_value, result.p_drop) == (1.0, 1.0)
    assert -1.0 <= result.interval.low < 0.0 < result.interval.high <= 1.0


@given(credits_in_strata)
def test_exchanging_the_results_mirrors_everything(rows: list[tuple[int, float]]) -> None:
    there, back = _compare(rows), _compare([(stratum, -d) for stratum, d in rows])
    assert back.estimate == -there.estimate
    assert back.p_value == there.p_value
    mirrored = (-there.interval.high, -there.interval.low)
    assert back.interval == pytest.approx(mirrored, abs=1e-9)


@given(credits_in_strata, st.floats(0.05, 0.95))
def test_paired_intervals_hold_the_estimate_and_widen_with_the_level(
    rows: list[tuple[int, float]], level: float
) -> None:
    found = _compare(rows)
    inner, outer = found.table.limits(level), found.table.limits(0.99)
    assert -1.0 <= outer.low <= inner.low + 1e-12
    assert inner.low <= found.estimate <= inner.high
    assert inner.high - 1e-12 <= outer.high <= 1.0
    assert 0.0 < found.p_value <= 1.0
    assert 0.0 < found.p_drop <= 1.0
    assert found.interval == found.table.limits(0.95)


def test_one_stratum_has_tangos_interval() -> None:
    # The limits are where Tango's score statistic is 1.96; the constrained share of losses is
    # found here by maximising the trinomial likelihood, not by Tango's closed form.
    won, lost, n = 5, 14, 84
    d = [1.0] * won + [-1.0] * lost + [0.0] * (n - won - lost)
    low, high = difference(d, [0] * n, [1]).interval

    def score(delta: float) -> float:
        q = np.linspace(max(0.0, -delta), (1 - delta) / 2, 2_000_001)[1:-1]
        likelihood = won * np.log(q + delta) + lost * np.log(q)
        likelihood += (n - won - lost) * np.log1p(-2 * q - delta)
        best = q[np.argmax(likelihood)]
        return float((won - lost - n * delta) / math.sqrt(n * (2 * best + delta - delta**2)))

    assert score(low) == pytest.approx(1.959964, abs=1e-4)
    assert score(high) == pytest.approx(-1.959964, abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("accuracy", "correlation"), [(0.7, 0.0), (0.7, 0.4), (0.9, 0.4)])
def test_clustered_differences_hold_level_and_coverage(accuracy: float, correlation: float) -> None:
    rng = np.random.default_rng(20240702)
    clusters, strata = np.repeat(np.arange(164), 6), np.tile(np.arange(6), 164)
    root, rest, bar = math.sqrt(correlation), math.sqrt(1 - correlation), norm.ppf(accuracy)
    covered = rejected = 0
    runs = 500
    for _ in range(runs):
        sides = [
            (root * rng.normal(size=164)[clusters] + rest * rng.normal(size=984) < bar) * 1.0
            for _ in range(2)
        ]
        found = difference(sides[1] - sides[0], strata, np.ones(6), clusters)
        covered += found.interval.low <= 0.0 <= found.interval.high
        rejected += found.p_value <= 0.05
    # Three standard errors of 5 % in 500 draws are 2.9 points.
    assert 0.92 <= covered / runs <= 0.98
    assert rejected / runs <= 0.08


def test_half_credits_have_the_error_of_their_own_size() -> None:
    # 10,000 differences of -0.5, 0 or 0.5, in thirds: variance 1/6, error of the mean 0.40825 %.
    d = np.resize([-0.5, 0.0, 0.5], 10_000 - 1)
    low, high = difference(d, np.zeros(d.size, int), [1]).interval
    assert (low, high) == pytest.approx((-0.0080016, 0.0080016), rel=0.01)


def test_a_difference_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="nan"):
        difference([np.nan], [0], [1])


def test_unpaired_difference_of_one_stratum_is_newcombes_interval_and_the_pooled_z_test() -> None:
    new, old = diff.Strata([56 / 70], [70]), diff.Strata([48 / 80], [80])
    result = diff.unpaired_difference(new, old, weights=[1])
    expected = confint_proportions_2indep(56, 70, 48, 80, method="newcomb", compare="diff")
    assert result.interval == pytest.approx(expected, rel=1e-9)
    _, p_value = proportions_ztest([56, 48], [70, 80])
    assert result.p_value == pytest.approx(p_value, rel=1e-9)
    _, p_drop = proportions_ztest([56, 48], [70, 80], alternative="smaller")
    assert result.p_drop == pytest.approx(p_drop, rel=1e-9)


def test_unpaired_intervals_and_p_values_hold_what_they_promise_over_strata() -> None:
    n, w = np.array(HARD), np.array(HARD) / sum(HARD)
    truth = np.linspace(0.4, 0.9, n.size)
    generator = np.random.default_rng(4)
    covered = rejected = 0
    for _ in range(1000):
        new, old = (diff.Strata(generator.binomial(n, truth) / n, n) for _ in range(2))
        result = diff.unpaired_difference(new, old, weights=w)
        covered += result.interval.low <= 0.0 <= result.interval.high
        rejected += result.p_value <= 0.05
    # Four standard errors of a share of 5 % in 1,000 draws are 2.8 points.
    assert 922 <= covered <= 978
    assert 22 <= rejected <= 78


@given(
    st.lists(
        st.tuples(st.floats(0, 1), st.floats(0, 1), st.integers(1, 300), st.floats(0.01, 1)),
        min_size=1,
        max_size=6,
    )
)
def test_unpaired_differences_mirror_and_hold_their_estimate(
    rows: list[tuple[float, float, int, float]],
) -> None:
    new, old, n, w = (list(column) for column in zip(*rows, strict=True))
    there = diff.unpaired_difference(diff.Strata(new, n), diff.Strata(old, n), weights=w)
    back = diff.unpaired_difference(diff.Strata(old, n), diff.Strata(new, n), weights=w)
    assert back.estimate == -there.estimate
    assert back.p_value == pytest.approx(there.p_value, abs=1e-12)
    assert -1 <= there.interval.low <= there.estimate <= there.interval.high <= 1
    assert back.interval == pytest.approx((-there.interval.high, -there.interval.low), abs=1e-12)


@pytest.mark.parametrize("accuracies", [[0.5, 0.9], [1.0, 1.0], [0.0, 1.0]])
def test_accuracies_compared_with_themselves_differ_by_0_with_p_1(accuracies: list[float]) -> None:
    same = diff.Strata(accuracies, [20, 30])
    result = diff.unpaired_difference(same, same, weights=[1, 2])
    assert (result.estimate, result.p_value, result.p_drop) == (0.0, 1.0, 0.5)
    assert result.interval.low < 0.0 < result.interval.high


def test_unpaired_difference_says_what_is_wrong() -> None:
    new, old = diff.Strata([0.5, 0.5], [9, 9]), diff.Strata([0.5], [9])
    with pytest.raises(ValueError, match="one accuracy, one count and one weight, got 1, 1 and 2"):
        diff.unpaired_difference(new, old, weights=[1, 1])


def test_the_weighted_mean_of_a_difference_and_of_its_sides_agree() -> None:
    generator = np.random.default_rng(2)
    strata, w = np.repeat(np.arange(3), 50), [0.2, 0.5, 0.3]
    new, old = generator.integers(0, 2, size=(2, 150)).astype(float)
    paired = difference(new - old, strata, w)
    sides = [diff.Strata(np.bincount(strata, side) / 50, [50] * 3) for side in (new, old)]
    unpaired = diff.unpaired_difference(sides[0], sides[1], weights=w)
    assert paired.estimate == pytest.approx(unpaired.estimate, abs=1e-12)
