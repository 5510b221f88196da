"""Intervals against scipy, statsmodels and simulation."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from statsmodels.stats.proportion import proportion_confint

from rmbench.accuracy import intervals as stats

Floats = npt.NDArray[np.float64]

# RewardBench's comparisons per subset and, for math-prm alone, a weight that is not its count.
CHAT = [100, 95, 95, 28, 40]
HARD = [37, 100, 134, 92, 47, 46]
SAFETY = [100, 100, 154, 250, 136]
REASONING = [447] + [164] * 6
REASONING_WEIGHTS = [984] + [164] * 6
ALL = CHAT + HARD + SAFETY + REASONING


def _mean_of_sections() -> list[float]:
    sections = [CHAT, HARD, SAFETY, REASONING_WEIGHTS]
    return [weight / sum(section) / 4 for section in sections for weight in section]


SHAPES: dict[str, tuple[list[int], list[float]]] = {
    "chat": (CHAT, [float(n) for n in CHAT]),
    "chat hard": (HARD, [float(n) for n in HARD]),
    "safety": (SAFETY, [float(n) for n in SAFETY]),
    "reasoning": (REASONING, [float(n) for n in REASONING_WEIGHTS]),
    "pooled": (ALL, [float(n) for n in ALL]),
    "mean of sections": (ALL, _mean_of_sections()),
}

strata = st.lists(
    st.tuples(st.integers(1, 500), st.floats(0.0, 1.0), st.floats(0.0, 1000.0)),
    min_size=1,
    max_size=8,
).filter(lambda rows: max(weight for _, _, weight in rows) > 1e-6)


@pytest.mark.parametrize(("successes", "n"), [(0, 1), (1, 1), (0, 5), (337, 358), (199, 456)])
@pytest.mark.parametrize("level", [0.5, 0.95, 0.999])
def test_wilson_is_scipys_wilson(successes: int, n: int, level: float) -> None:
    expected = scipy_stats.binomtest(successes, n).proportion_ci(level, method="wilson")
    assert stats.wilson(successes, n, level=level) == pytest.approx(expected, rel=1e-12, abs=1e-14)


def test_wilson_takes_half_successes_like_statsmodels() -> None:
    expected = proportion_confint(7.5, 20, method="wilson")
    assert stats.wilson(7.5, 20) == pytest.approx(expected, rel=1e-12)


@given(st.integers(1, 10**6), st.floats(0.001, 0.999))
def test_wilson_ends_at_0_and_1_exactly(n: int, level: float) -> None:
    assert stats.wilson(0, n, level=level).low == 0.0
    assert stats.wilson(n, n, level=level).high == 1.0


@given(st.integers(1, 5000), st.floats(0.0, 1.0), st.floats(0.01, 0.98))
def test_wilson_holds_the_accuracy_and_widens_with_the_level(
    n: int, share: float, level: float
) -> None:
    inner, outer = stats.wilson(share * n, n, level=level), stats.wilson(share * n, n, level=0.99)
    assert 0.0 <= outer.low <= inner.low + 1e-15
    assert inner.low <= share * n / n <= inner.high
    assert inner.high - 1e-15 <= outer.high <= 1.0


@given(st.integers(1, 5000), st.data())
def test_wilson_of_failures_mirrors_wilson_of_successes(n: int, data: st.DataObject) -> None:
    successes = data.draw(st.integers(0, n))
    low, high = stats.wilson(successes, n)
    assert stats.wilson(n - successes, n) == pytest.approx((1 - high, 1 - low), abs=1e-12)


@pytest.mark.parametrize(
    ("successes", "n", "level", "message"),
    [
        (0, 0, 0.95, "at least one trial, got n = 0"),
        (6, 5, 0.95, "successes must be between 0 and n = 5, got 6"),
        (-1, 5, 0.95, "successes must be between 0 and n = 5, got -1"),
        (math.nan, 5, 0.95, "successes must be between 0 and n = 5, got nan"),
        (1, 5, 1.0, "level must be between 0 and 1, got 1.0"),
        (1, 5, 0.0, "level must be between 0 and 1, got 0.0"),
    ],
)
def test_wilson_says_what_is_wrong(successes: float, n: int, level: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        stats.wilson(successes, n, level=level)


@given(st.integers(1, 3000), st.data(), st.floats(1e-6, 1e6), st.floats(0.1, 0.99))
def test_one_stratum_is_wilson(n: int, data: st.DataObject, weight: float, level: float) -> None:
    successes = data.draw(st.integers(0, n))
    weighted = stats.weighted_interval([successes / n], [n], [weight], level=level)
    assert weighted == pytest.approx(stats.wilson(successes, n, level=level), rel=1e-9, abs=1e-12)


@given(strata, st.floats(1e-3, 1e3))
def test_the_scale_of_weights_and_strata_without_weight_do_not_matter(
    rows: list[tuple[int, float, float]], scale: float
) -> None:
    n, p, w = (list(column) for column in zip(*rows, strict=True))
    expected = stats.weighted_interval(p, n, w)
    scaled = stats.weighted_interval([*p, 0.1], [*n, 7], [*(x * scale for x in w), 0.0])
    assert scaled == pytest.approx(expected, rel=1e-9, abs=1e-12)


@given(strata, st.floats(0.01, 0.98))
def test_a_weighted_interval_holds_its_mean_and_widens_with_the_level(
    rows: list[tuple[int, float, float]], level: float
) -> None:
    n, p, w = (list(column) for column in zip(*rows, strict=True))
    inner = stats.weighted_interval(p, n, w, level=level)
    outer = stats.weighted_interval(p, n, w, level=0.99)
    mean = float(np.average(p, weights=w))
    assert 0.0 <= outer.low <= inner.low + 1e-15
    assert inner.low - 1e-12 <= mean <= inner.high + 1e-12
    assert inner.high - 1e-15 <= outer.high <= 1.0


def test_perfect_strata_end_at_1_exactly_and_leave_room_below() -> None:
    low, high = stats.weighted_interval([1.0, 1.0, 1.0], [100, 95, 28], [0.3, 0.3, 0.1])
    assert high == 1.0
    # A plain sample as large as these (223) has 0.983; unequal shares make it a little less.
    assert 0.96 < low < 0.983


def test_a_large_sample_agrees_with_the_textbook_stratified_error() -> None:
    # Cochran, Sampling techniques, 5.3: variance is the sum of w^2 p (1 - p) / n, here
    # 0.25 * 0.25 / 40000 + 0.25 * 0.09 / 90000 = 1.8125e-6, so 1.96 errors are 0.0026387.
    low, high = stats.weighted_interval([0.5, 0.9], [40_000, 90_000], [1, 1])
    assert (low, high) == pytest.approx((0.7 - 0.0026387, 0.7 + 0.0026387), abs=3e-5)


@pytest.mark.parametrize(
    ("lowest", "highest"),
    [(0.3, 0.3), (0.5, 0.5), (0.7, 0.7), (0.85, 0.85), (0.95, 0.95), (0.3, 0.98), (0.98, 0.3)],
)
@pytest.mark.parametrize("shape", SHAPES)
def test_weighted_intervals_cover_the_truth_about_95_percent_of_the_time(
    shape: str, lowest: float, highest: float
) -> None:
    counts = np.array(SHAPES[shape][0])
    weights = np.array(SHAPES[shape][1]) / np.sum(SHAPES[shape][1])
    truth = np.linspace(lowest, highest, counts.size)
    draws = np.random.default_rng(20240701).binomial(counts, truth, size=(2000, counts.size))
    # The vectorised core of weighted_interval; the next test holds the two together.
    low, high = stats._effective_wilson(
        draws / counts, counts.astype(np.float64), weights, stats.normal_quantile(0.95)
    )
    covered = np.mean((low <= truth @ weights) & (truth @ weights <= high))
    assert 0.93 <= covered <= 0.97


def test_the_vectorised_core_is_what_weighted_interval_returns() -> None:
    counts, weights = np.array(REASONING), np.array(REASONING_WEIGHTS) / sum(REASONING_WEIGHTS)
    draws = np.random.default_rng(1).binomial(counts, 0.9, size=(20, counts.size)) / counts
    low, high = stats._effective_wilson(
        draws, counts.astype(np.float64), weights, stats.normal_quantile(0.95)
    )
    for row, ends in zip(draws, zip(low, high, strict=True), strict=True):
        assert stats.weighted_interval(row, counts, weights) == pytest.approx(ends, rel=1e-12)


@pytest.mark.parametrize(
    ("accuracies", "counts", "weights", "message"),
    [
        ([], [], [], r"accuracies must be a non-empty list of numbers, got shape \(0,\)"),
        ([0.5], [10, 20], [1], "one accuracy, one count and one weight, got 1, 2 and 1"),
        ([0.5, 1.5], [10, 10], [1, 1], r"accuracies must be in \[0, 1\], got 0.5 to 1.5"),
        ([0.5, math.nan], [10, 10], [1, 1], r"accuracies\[1\] is nan, which is not a finite"),
        ([0.5], [0], [1], "counts must be at least 1, got 0"),
        ([0.5, 0.5], [10, 10], [1, -1], "weights must not be negative, got -1.0"),
        ([0.5, 0.5], [10, 10], [0, 0], "at least one weight must be above 0"),
        ([0.5], [10], [math.inf], r"weights\[0\] is inf"),
        (0.5, [10], [1], "accuracies must be a non-empty list of numbers"),
    ],
)
def test_weighted_interval_says_what_is_wrong(
    accuracies: npt.ArrayLike, counts: npt.ArrayLike, weights: npt.ArrayLike, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        stats.weighted_interval(accuracies, counts, weights)


@pytest.mark.parametrize("freedom", [1.0, 2.0, 2.7, 5.0, 30.0, 1e3, 1e7])
@pytest.mark.parametrize("level", [0.5, 0.95, 0.998])
def test_students_quantile_is_scipys(freedom: float, level: float) -> None:
    expected = scipy_stats.t.ppf(0.5 + level / 2, freedom)
    assert stats.student_quantile(level, freedom) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("level", "freedom"), [(0.0, 3.0), (1.0, 3.0), (0.95, 0.5)])
def test_students_quantile_says_what_is_wrong(level: float, freedom: float) -> None:
    with pytest.raises(ValueError, match="must be"):
        stats.student_quantile(level, freedom)
