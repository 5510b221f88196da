"""Calibration of margins; expected values by hand, from scipy and from simulation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from scipy.special import expit

from rmbench.accuracy.calibration import (
    Confidence,
    calibration,
    confidence_of,
    margin_calibration,
)

LN4 = math.log(4)


def test_calibration_by_hand() -> None:
    # Two bins: (0, .5] holds .2 and .4 (mean .3, outcomes 0 and 1, mean .5; outcome minus
    # probability -.2 and .6, variance .32), (.5, 1] holds .9 (outcome 1; variance .9 * .1).
    # Square: (2 (.2^2 - .32 / 2) + (.1^2 - .09)) / 3 = (-.24 - .08) / 3.
    result = calibration([0.2, 0.9, 0.4], [0, 1, 1], bins=2)
    assert result.square == pytest.approx(-0.32 / 3)
    assert result.error == 0.0
    assert [(b.low, b.high, b.n) for b in result.bins] == [(0.0, 0.5, 2), (0.5, 1.0, 1)]
    assert result.bins[0].probability == pytest.approx(0.3)
    assert result.bins[0].outcome == 0.5


def test_spiegelhalters_test_by_hand() -> None:
    # Sum of (y - p)(1 - 2p): -.2 * .6 + .1 * -.8 + .6 * .2 = -.08; variance: .36 * .16 +
    # .64 * .09 + .04 * .24 = .1248.
    result = calibration([0.2, 0.9, 0.4], [0, 1, 1])
    expected = 2 * scipy_stats.norm.sf(0.08 / math.sqrt(0.1248))
    assert result.p_value == pytest.approx(expected)


def test_a_probability_on_an_edge_belongs_to_the_bin_below() -> None:
    result = calibration([0.0, 0.1, 0.3, 0.7, 1.0], [0, 0, 0, 1, 1])
    assert [b.high for b in result.bins] == [0.1, 0.3, 0.7, 1.0]
    assert result.bins[0].n == 2


@pytest.mark.parametrize("n", [60, 240, 2985])
def test_the_square_of_a_calibrated_model_is_0_on_average(n: int) -> None:
    rng = np.random.default_rng(3)
    squares, rejected = [], 0
    for _ in range(400):
        size = rng.exponential(1.0, n)
        right = rng.random(n) < expit(size)
        found = margin_calibration(np.where(right, size, -size))
        assert found is not None
        squares.append(found.square)
        rejected += found.p_value <= 0.05
    error = np.std(squares) / math.sqrt(len(squares))
    assert abs(np.mean(squares)) < 4.0 * error
    # Three standard errors of 5 % in 400 draws are 3.3 points.
    assert rejected / 400 <= 0.083


def test_margins_twice_too_large_are_found() -> None:
    rng = np.random.default_rng(3)
    size = rng.exponential(1.0, 3000)
    right = rng.random(size.size) < expit(size)
    found = confidence_of(np.where(right, 2 * size, -2 * size))
    assert found is not None and found.is_notable
    assert found.error == pytest.approx(math.sqrt(0.012), abs=0.02)


def test_margins_that_say_nothing_with_the_right_mean_are_found() -> None:
    rng = np.random.default_rng(5)
    size = rng.exponential(1.5, 3000)
    share = expit(size).mean()
    found = confidence_of(np.where(rng.random(size.size) < share, size, -size))
    assert found is not None and found.is_notable


@given(
    st.lists(st.tuples(st.floats(0, 1), st.sampled_from([0, 1])), min_size=1), st.integers(1, 30)
)
def test_every_prediction_is_in_one_bin_and_inside_it(
    pairs: list[tuple[float, int]], bins: int
) -> None:
    p, y = zip(*pairs, strict=True)
    result = calibration(p, y, bins=bins)
    assert sum(b.n for b in result.bins) == len(pairs)
    assert all(b.low - 1e-12 <= b.probability <= b.high + 1e-12 for b in result.bins)
    assert 0.0 <= result.error <= 1.0
    assert 0.0 <= result.p_value <= 1.0


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
        calibration(p, y, bins=bins)


def test_margins_of_any_size_are_finite_confidences() -> None:
    found = confidence_of([1e6, -1e6, 3.4e38])
    assert found is not None
    assert (found.confidence, found.right) == (1.0, pytest.approx(2 / 3))
    assert found.brier == pytest.approx(1 / 3)
    assert found.p_value == 0.0  # what is certain did not happen


def test_without_margins_there_is_no_calibration() -> None:
    assert margin_calibration([math.nan, math.nan]) is None
    assert confidence_of([math.nan]) is None


def test_sureness_by_hand() -> None:
    # sigmoid(ln 4) = 0.8 three times, right twice; sigmoid(ln 1.5) = 0.6 once, right; one tie.
    found = confidence_of([LN4, LN4, -LN4, math.log(1.5), 0.0, math.nan])
    assert found is not None
    assert (found.n, found.ties) == (5, 1)
    assert found.confidence == pytest.approx((3 * 0.8 + 0.6) / 4)
    assert found.right == pytest.approx(3 / 4)
    assert found.brier == pytest.approx((2 * 0.2**2 + 0.8**2 + 0.4**2 + 0.25) / 5)


@given(st.integers(1, 500))
def test_a_model_that_always_ties_has_the_brier_score_of_a_coin(n: int) -> None:
    found = confidence_of([0.0] * n)
    assert found == Confidence(error=None, brier=0.25, confidence=None, right=None, n=n, ties=n)
    assert not found.is_notable


def test_clusters_raise_the_p_value() -> None:
    # Ten prompts, each in ten copies, half of them right at a confidence of 0.8.
    margins = np.repeat(np.where(np.arange(10) % 2, LN4, -LN4), 10)
    alone, together = (
        margin_calibration(margins, clusters=clusters)
        for clusters in (None, np.repeat(np.arange(10), 10))
    )
    single = margin_calibration(margins[::10])
    assert alone is not None and together is not None and single is not None
    assert alone.p_value < 1e-6
    assert together.p_value == pytest.approx(single.p_value)


def test_what_tells_is_beyond_chance_and_five_points() -> None:
    sure = {"brier": 0.2, "confidence": 0.9, "right": 0.7, "n": 100}
    assert Confidence(error=0.2, p_value=0.01, **sure).is_notable
    assert not Confidence(error=0.2, p_value=0.2, **sure).is_notable
    assert not Confidence(error=0.04, p_value=0.01, **sure).is_notable
