"""Means of clustered values against enumeration, known designs and simulation."""

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from rmbench.accuracy.clusters import (
    credit_interval,
    expected_design,
    sample_of,
    spread,
    value_interval,
)
from rmbench.accuracy.intervals import weighted_interval, wilson

TIES = (-0.01, 1.01)
CHAT, HARD = [100, 95, 95, 28, 40], [37, 100, 134, 92, 47, 46]

rows = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 6), st.sampled_from([0.0, 0.0, 0.5, 1.0, 1.0])),
    min_size=1,
    max_size=60,
)


def make(
    found: list[tuple[int, int, float]], *, copies: int = 1, rename: int = 1, apart: bool = False
) -> "npt.NDArray[np.float64]":
    """Return low, mean, high and design effect of rows of stratum, cluster and credit."""
    strata = sorted({stratum for stratum, _, _ in found})
    clusters = range(len(found) * copies) if apart else [c for _, c, _ in found] * copies
    sample = sample_of(
        [credit for _, _, credit in found] * copies,
        [strata.index(stratum) for stratum, _, _ in found] * copies,
        weights=[stratum + 1.0 for stratum in strata],
        clusters=[(rename * c) % 10_007 for c in clusters],
    )
    estimate = credit_interval(sample)
    return np.array([estimate.interval.low, estimate.mean, estimate.interval.high])


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(1, 300)), min_size=1, max_size=5))
def test_without_repeats_the_interval_is_the_one_for_independent_comparisons(
    counts: list[tuple[int, int]],
) -> None:
    wins, n = [min(pair) for pair in counts], [max(pair) for pair in counts]
    values = np.concatenate([np.arange(b) < a for a, b in zip(wins, n, strict=True)])
    strata = np.repeat(np.arange(len(n)), n)
    sample = sample_of(values, strata, weights=n, clusters=np.arange(values.size))
    expected = weighted_interval(np.array(wins) / n, n, n)
    assert credit_interval(sample).interval == pytest.approx(expected, abs=1e-12)
    assert credit_interval(sample).design is None


def test_clusters_that_agree_within_count_once() -> None:
    # Ninety prompts in four equal rows each: the interval is about that of ninety comparisons.
    values = np.repeat(np.arange(90) < 60, 4)
    sample = sample_of(values, np.zeros(360, int), weights=[1], clusters=np.repeat(range(90), 4))
    found = credit_interval(sample)
    low, high = wilson(60, 90)
    assert found.interval == pytest.approx((low, high), abs=0.003)
    assert found.design == pytest.approx(4.0, rel=0.02)


def test_the_variance_by_hand() -> None:
    # Clusters {1, 1}, {0}, {0, 1} of five comparisons with mean 0.6; residuals over 5: .08, .08,
    # -.12, -.12, .08. Products of different members: 2 * .08^2, 0, 2 * -.12 * .08, over
    # 1 - 2/5 for clusters of two. Items: 0.24 / 5; one comparison more: (3.5 / 6) (2.5 / 6), and
    # its excess over 0.24 counts (4 + 1 + 4) / 5 times.
    sample = sample_of([1, 1, 0, 0, 1], [0] * 5, weights=[1], clusters=[7, 7, 3, 1, 1])
    found = spread(sample, half=0.5)
    products = (2 * 0.08**2 - 2 * 0.12 * 0.08) / 0.6
    more = 3.5 / 6 * 2.5 / 6
    assert found.plain == pytest.approx(more / 5)
    assert found.variance == pytest.approx(0.24 / 5 + products + (more - 0.24) * 9 / 5 / 5)


@given(rows, st.integers(2, 5))
@settings(deadline=None)
def test_doubling_every_row_in_its_cluster_leaves_the_cluster_sums(
    found: list[tuple[int, int, float]], copies: int
) -> None:
    once, often = (
        sample_of(
            [credit for _, _, credit in found] * times,
            [0] * len(found) * times,
            weights=[1],
            clusters=[cluster for _, cluster, _ in found] * times,
        )
        for times in (1, copies)
    )
    sums = [
        item.per_cluster(item.shares * (item.values - item.means()[item.strata]))
        for item in (once, often)
    ]
    assert np.sum(sums[0] ** 2) == pytest.approx(np.sum(sums[1] ** 2), abs=1e-12)


@given(rows, st.sampled_from([3, 17, 4999]))
@settings(deadline=None)
def test_the_names_of_clusters_and_the_order_of_rows_do_not_matter(
    found: list[tuple[int, int, float]], rename: int
) -> None:
    assert make(found, rename=rename) == pytest.approx(make(found), abs=1e-12)
    assert make(found[::-1]) == pytest.approx(make(found), abs=1e-9)


@given(rows)
@settings(deadline=None)
def test_an_interval_is_inside_0_and_1_and_holds_its_mean(
    found: list[tuple[int, int, float]],
) -> None:
    low, mean, high = make(found)
    assert 0.0 <= low <= mean + 1e-12 and mean - 1e-12 <= high <= 1.0
    assert high - low > 0.0


def test_one_cluster_says_almost_nothing() -> None:
    sample = sample_of([1.0] * 30 + [0.0] * 10, [0] * 40, weights=[1], clusters=[5] * 40)
    low, high = credit_interval(sample).interval
    assert low < 0.2 and high > 0.95


def test_what_all_clusters_won_still_leaves_room_for_as_many_as_there_are() -> None:
    sample = sample_of(np.ones(60), [0] * 60, weights=[1], clusters=np.repeat(range(20), 3))
    found = credit_interval(sample).interval
    assert found.high == 1.0
    assert found.low == pytest.approx(wilson(20, 20).low, abs=0.01)


def test_strata_without_weight_have_no_influence() -> None:
    plain = sample_of([1, 0, 1], [0, 0, 0], weights=[2], clusters=[1, 1, 2])
    more = sample_of([1, 0, 1, 0, 0], [0, 0, 0, 1, 1], weights=[2, 0], clusters=[1, 1, 2, 2, 2])
    assert credit_interval(plain) == credit_interval(more)


def test_fractional_credits_have_the_variance_of_their_own() -> None:
    # 10,000 credits of 0.4 or 0.6: variance 0.01, so 1.96 errors are 0.00196.
    sample = sample_of(np.resize([0.4, 0.6], 10_000), np.zeros(10_000, int), weights=[1])
    assert credit_interval(sample).interval == pytest.approx((0.49804, 0.50196), abs=2e-5)


def test_a_design_effect_is_expected_from_sizes_and_correlation() -> None:
    # Kish: 1 + (m - 1) rho for clusters of m.
    sample = sample_of(np.ones(60), [0] * 60, weights=[1], clusters=np.repeat(range(10), 6))
    assert expected_design(sample, 0.2) == pytest.approx(1 + 5 * 0.2)


@pytest.mark.parametrize(
    ("values", "strata", "weights", "clusters", "message"),
    [
        ([], [], [1], None, "values must be a non-empty list"),
        ([0.5, math.nan], [0, 0], [1], None, r"values\[1\] is nan"),
        ([1.0, 0.0], [0], [1], None, "strata must be one whole number for each of the 2 values"),
        ([1.0], [0.5], [1], None, "strata must be one whole number for each of the 1 values"),
        ([1.0], [1], [1], None, "positions in the 1 weights, got 1 to 1"),
        ([1.0], [-1], [1], None, "positions in the 1 weights, got -1 to -1"),
        ([1.0], [0], [1, 1], None, "stratum 1 has weight but no comparison"),
        ([1.0], [0], [0], None, "at least one weight must be above 0"),
        ([1.0], [0], [], None, "weights must be a non-empty list"),
        ([1.0, 0.0], [0, 0], [1], [1], "clusters must be one whole number for each"),
    ],
)
def test_a_sample_says_what_is_wrong(
    values: npt.ArrayLike,
    strata: npt.ArrayLike,
    weights: npt.ArrayLike,
    clusters: npt.ArrayLike | None,
    message: str,
) -> None:
    with pytest.raises(ValueError, match=message):
        sample_of(values, strata, weights=weights, clusters=clusters)


def test_credits_outside_0_and_1_are_refused() -> None:
    with pytest.raises(ValueError, match=r"credits must be in \[0, 1\], got -1.0 to 1.0"):
        credit_interval(sample_of([1.0, -1.0], [0, 0], weights=[1]))


@pytest.mark.slow
@pytest.mark.parametrize("correlation", [0.0, 0.3, 0.6])
@pytest.mark.parametrize("accuracy", [0.6, 0.8, 0.95])
def test_intervals_of_clusters_cover_the_truth_about_95_percent_of_the_time(
    correlation: float, accuracy: float
) -> None:
    rng = np.random.default_rng(11)
    clusters = np.repeat(np.arange(164), 6)
    strata = np.tile(np.arange(6), 164)
    covered, runs = 0, 500
    for _ in range(runs):
        shared = rng.normal(size=164)[clusters]
        own = rng.normal(size=clusters.size)
        latent = math.sqrt(correlation) * shared + math.sqrt(1 - correlation) * own
        values = latent < norm.ppf(accuracy)
        low, high = credit_interval(
            sample_of(values, strata, weights=np.ones(6), clusters=clusters)
        ).interval
        covered += low <= accuracy <= high
    # Three standard errors of 95 % in 500 draws are 2.9 points.
    assert 0.92 <= covered / runs <= 0.98


def tie_values(draws: np.ndarray) -> np.ndarray:
    """Return a ties score's values of units: 0.3, 0.3, 0.2, 0.2 of yes or no, and a small part."""
    return draws[:, :4] @ [0.3, 0.3, 0.2, 0.2] + 0.01 * (2.0 * draws[:, 4] - 1.0)


def test_a_score_above_1_keeps_its_interval_around_it() -> None:
    values = np.full(51, 1.009)
    found = value_interval(sample_of(values, np.zeros(51, int), weights=[1]), span=TIES)
    assert 1.0 < found.mean <= found.interval.high <= 1.01
    assert 0.9 < found.interval.low < 1.0


@given(st.lists(st.floats(-0.01, 1.01), min_size=1, max_size=40))
def test_the_interval_of_any_score_holds_it_within_its_range(values: list[float]) -> None:
    found = value_interval(sample_of(values, [0] * len(values), weights=[1]), span=TIES)
    assert -0.01 - 1e-9 <= found.interval.low <= found.mean + 1e-9
    assert found.mean - 1e-9 <= found.interval.high <= 1.01 + 1e-9


@pytest.mark.slow
@pytest.mark.parametrize("chance", [0.43, 0.74, 0.96, 0.995])
def test_intervals_of_ties_cover_the_truth_about_95_percent_of_the_time(chance: float) -> None:
    rng = np.random.default_rng(3)
    truth, covered, runs = chance + 0.01 * (2 * chance - 1), 0, 600
    for _ in range(runs):
        latent = np.sqrt(0.5) * rng.normal(size=(51, 1)) + np.sqrt(0.5) * rng.normal(size=(51, 5))
        values = tie_values((latent < norm.ppf(chance)).astype(float))
        sample = sample_of(values, np.zeros(51, int), weights=[1])
        low, high = value_interval(sample, span=TIES).interval
        covered += low <= truth <= high
    # Four standard errors of 95 % in 600 draws are 3.6 points; near the end it may be wide.
    assert covered / runs >= 0.914


def test_a_number_that_ends_at_1_has_an_interval_that_does() -> None:
    # Influences of an F1 lie outside [0, 1] though the score cannot.
    found = value_interval(sample_of([1.2, 0.9, 0.7, 1.1] * 10, [0] * 40, weights=[1]))
    assert found.mean == pytest.approx(0.975)
    assert 0.8 < found.interval.low < found.interval.high <= 1.0
