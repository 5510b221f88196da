"""Intervals, agreement and calibration against scipy, statsmodels and simulation."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from statsmodels.stats.inter_rater import cohens_kappa
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


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30)
def test_kappa_is_that_of_statsmodels(seed: int) -> None:
    a, b = np.random.default_rng(seed).integers(0, 3, size=(2, 40))
    table = np.zeros((3, 3))
    np.add.at(table, (a, b), 1)
    assert stats.cohen_kappa(a, b) == pytest.approx(cohens_kappa(table).kappa, abs=1e-12)


def test_kappa_reads_text_and_knows_full_agreement() -> None:
    labels = ["human", "model", "model"]
    assert stats.cohen_kappa(labels, labels) == pytest.approx(1.0)
    # By hand: they agree on 1 of 3, and by chance on 1/3 * 1/3 + 2/3 * 2/3 = 5/9 of them.
    assert stats.cohen_kappa(labels, ["model", "model", "human"]) == pytest.approx(
        (1 / 3 - 5 / 9) / (1 - 5 / 9)
    )


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ([], [], "two equally long, non-empty lists"),
        ([1, 2], [1], r"got shapes \(2,\) and \(1,\)"),
        (["x", "x"], ["x", "x"], "undefined when every label is the same, here x"),
    ],
)
def test_kappa_says_what_is_wrong(a: npt.ArrayLike, b: npt.ArrayLike, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        stats.cohen_kappa(a, b)


def test_calibration_by_hand() -> None:
    # Two bins: (0, .5] holds .2 and .4 (mean .3, outcomes mean .5), (.5, 1] holds .9 (outcome 1).
    # Error: (2 * |.5 - .3| + 1 * |1 - .9|) / 3 = .5 / 3. Brier: (.04 + .36 + .01) / 3.
    result = stats.calibration([0.2, 0.9, 0.4], [0, 1, 1], bins=2)
    assert result.error == pytest.approx(0.5 / 3)
    assert result.brier == pytest.approx(0.41 / 3)
    assert [(b.low, b.high, b.n) for b in result.bins] == [(0.0, 0.5, 2), (0.5, 1.0, 1)]
    assert result.bins[0].probability == pytest.approx(0.3)
    assert result.bins[0].outcome == 0.5


def test_a_probability_on_an_edge_belongs_to_the_bin_below() -> None:
    result = stats.calibration([0.0, 0.1, 0.3, 0.7, 1.0], [0, 0, 0, 1, 1])
    assert [b.high for b in result.bins] == [0.1, 0.3, 0.7, 1.0]
    assert result.bins[0].n == 2


def test_outcomes_drawn_from_their_probabilities_are_calibrated() -> None:
    generator = np.random.default_rng(3)
    p = generator.uniform(size=200_000)
    result = stats.calibration(p, generator.uniform(size=p.size) < p)
    assert result.error < 0.005
    # The mean of p (1 - p) for uniform p is 1 / 6.
    assert result.brier == pytest.approx(1 / 6, abs=0.002)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1), st.integers(1, 30))
def test_every_prediction_is_in_one_bin_and_inside_it(
    pairs: list[tuple[float, float]], bins: int
) -> None:
    p, y = zip(*pairs, strict=True)
    result = stats.calibration(p, y, bins=bins)
    assert sum(b.n for b in result.bins) == len(pairs)
    assert all(b.low - 1e-12 <= b.probability <= b.high + 1e-12 for b in result.bins)
    assert 0.0 <= result.error <= 1.0
    assert 0.0 <= result.brier <= 1.0


@pytest.mark.parametrize(
    ("p", "y", "bins", "message"),
    [
        ([], [], 10, "probabilities must be a non-empty list"),
        ([0.5], [1, 0], 10, "probabilities and outcomes must be equally long, got 1 and 2"),
        ([1.1], [1], 10, r"probabilities must be in \[0, 1\]"),
        ([0.5], [2], 10, r"outcomes must be in \[0, 1\]"),
        ([0.5], [1], 0, "at least one bin, got 0"),
    ],
)
def test_calibration_says_what_is_wrong(
    p: list[float], y: list[float], bins: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        stats.calibration(p, y, bins=bins)


@given(st.integers(0, 2**32 - 1), st.booleans())
@settings(max_examples=30, deadline=None)
def test_logistic_slope_is_that_of_statsmodels(seed: int, fractional: bool) -> None:
    generator = np.random.default_rng(seed)
    x = generator.normal(300.0, 80.0, size=60)
    chance = 1 / (1 + np.exp(-(x - 300) / 100))
    y = chance if fractional else (generator.uniform(size=60) < chance).astype(float)
    if fractional:
        y = np.clip(y + generator.uniform(-0.2, 0.2, size=60), 0.0, 1.0)
    fitted = stats.logistic_slope(x, y)
    reference = sm.GLM(y, sm.add_constant(x), family=sm.families.Binomial()).fit(tol=1e-14)
    assert fitted.converged
    assert fitted.slope == pytest.approx(reference.params[1], rel=1e-6, abs=1e-9)
    assert fitted.intercept == pytest.approx(reference.params[0], rel=1e-6, abs=1e-7)
    assert fitted.standard_error == pytest.approx(reference.bse[1], rel=1e-5)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_pairs_that_were_seen_several_times_weigh_as_in_statsmodels(seed: int) -> None:
    generator = np.random.default_rng(seed)
    x = np.repeat(np.arange(-4.0, 5.0), 2)
    y = np.tile([0.0, 1.0], 9)  # both outcomes at every x, so that there is a finite line
    counts = generator.integers(1, 50, size=18)
    fitted = stats.logistic_slope(x, y, counts=counts)
    family = sm.families.Binomial()
    reference = sm.GLM(y, sm.add_constant(x), family=family, freq_weights=counts).fit(tol=1e-14)
    assert fitted.converged
    assert fitted.slope == pytest.approx(reference.params[1], rel=1e-6, abs=1e-9)
    assert fitted.standard_error == pytest.approx(reference.bse[1], rel=1e-5)


@pytest.mark.parametrize("counts", [[1.0, 0.0], [1.0, -1.0]])
def test_a_pair_that_was_never_seen_is_refused(counts: list[float]) -> None:
    with pytest.raises(ValueError, match="counts must be above 0, got"):
        stats.logistic_slope([0.0, 1.0], [0.0, 1.0], counts=counts)


@pytest.mark.parametrize(
    ("x", "y", "sign"),
    [
        ([1, 2, 3, 4], [0, 0, 1, 1], 1),
        ([1, 2, 2, 4], [1, 1, 0, 0], -1),  # both outcomes at 2: separated but for one point
        ([0, 1e-9, 1e9, 2e9], [0, 0, 1, 1], 1),
    ],
)
def test_separated_outcomes_are_flagged_with_finite_numbers(
    x: list[float], y: list[float], sign: int
) -> None:
    fitted = stats.logistic_slope(x, y)
    assert not fitted.converged
    assert all(math.isfinite(value) for value in fitted)
    assert fitted.slope * sign > 0


@pytest.mark.parametrize("outcome", [0.0, 1.0])
def test_outcomes_that_are_all_the_same_have_no_slope_and_are_flagged(outcome: float) -> None:
    fitted = stats.logistic_slope([1, 2, 3, 4], [outcome] * 4)
    assert not fitted.converged
    assert fitted.slope == pytest.approx(0.0, abs=1e-9)
    assert math.isfinite(fitted.standard_error)


@given(
    st.lists(
        st.tuples(st.floats(-1e6, 1e6), st.sampled_from([0.0, 0.5, 1.0])), min_size=2, max_size=20
    ).filter(lambda rows: np.ptp([x for x, _ in rows]) > 1e-3)
)
@settings(deadline=None)
def test_a_logistic_fit_is_always_finite_and_solves_the_score_equations_when_it_converged(
    rows: list[tuple[float, float]],
) -> None:
    x, y = (np.array(column) for column in zip(*rows, strict=True))
    fitted = stats.logistic_slope(x, y)
    assert all(math.isfinite(value) for value in fitted)
    if fitted.converged:
        residual = y - 1 / (1 + np.exp(-np.clip(fitted.intercept + fitted.slope * x, -500, 500)))
        assert abs(residual.sum()) < 1e-5 * len(rows)
        assert abs(residual @ ((x - x.mean()) / x.std())) < 1e-5 * len(rows)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        ([], [], "x must be a non-empty list"),
        ([1, 2], [1], "x and y must be equally long"),
        ([1, 2], [0, 2], r"y must be in \[0, 1\]"),
        ([3, 3], [0, 1], "at least two different x, got only 3.0"),
    ],
)
def test_logistic_slope_says_what_is_wrong(x: list[float], y: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        stats.logistic_slope(x, y)
