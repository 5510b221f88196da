"""The sign test against scipy, statsmodels and every pattern of signs."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar

from rmbench.accuracy.signs import mcnemar, sign_test


@given(st.integers(0, 300), st.integers(0, 300))
def test_mcnemar_is_scipys_binomial_test_and_symmetric(won: int, lost: int) -> None:
    expected = scipy_stats.binomtest(won, won + lost).pvalue if won + lost else 1.0
    assert mcnemar(won, lost) == pytest.approx(expected, rel=1e-10)
    assert mcnemar(won, lost) == mcnemar(lost, won)


@pytest.mark.parametrize(
    ("won", "lost"),
    [
        (499_000, 501_000),
        (500_000, 500_001),
        (490_000, 510_000),
        (1, 1000),
        (0, 1000),
        (15, 1001),
        (16, 900),
        (99_000, 101_000),
        (1_700, 2_300),
    ],
)
def test_mcnemar_keeps_ten_digits_for_large_counts(won: int, lost: int) -> None:
    # scipy's binomtest itself is a sum of two tails of the incomplete beta function.
    expected = 2.0 * scipy_stats.binom.cdf(min(won, lost), won + lost, 0.5)
    assert mcnemar(won, lost) == pytest.approx(expected, rel=1e-10)


def test_mcnemar_is_that_of_statsmodels() -> None:
    expected = statsmodels_mcnemar([[50, 12], [25, 100]], exact=True).pvalue
    assert mcnemar(12, 25) == pytest.approx(expected, rel=1e-10)


def test_mcnemar_by_hand_without_discordance_and_below_the_smallest_float() -> None:
    assert mcnemar(0, 0) == 1.0
    assert mcnemar(7, 7) == 1.0
    assert mcnemar(0, 5) == 2 / 32
    assert mcnemar(0, 5000) == 0.0


def test_mcnemar_refuses_negative_counts() -> None:
    with pytest.raises(ValueError, match="counts must not be negative, got won = -1 and lost = 3"):
        mcnemar(-1, 3)


def by_hand(steps: list[float]) -> tuple[float, float]:
    """Return both p values from every pattern of signs."""
    moving = np.abs([step for step in steps if step])
    sums = np.array([np.dot(signs, moving) for signs in product([-1, 1], repeat=moving.size)])
    observed, slack = sum(steps), 1e-9 * moving.sum()
    two = np.mean(np.abs(sums) >= abs(observed) - slack)
    return float(two), float(np.mean(sums <= observed + slack))


# One unit for all, two units, and sections weighted as RewardBench's.
SIZES = [[1.0, 2.0, 3.0], [0.5, 1 / 3], [1 / 358, 1 / 456, 984 / 447 / 1431, 2 / 456]]


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_steps_of_few_sizes_have_the_p_value_of_all_patterns(data: st.DataObject) -> None:
    sizes = data.draw(st.sampled_from(SIZES))
    signed = st.builds(
        lambda size, sign: size * sign, st.sampled_from(sizes), st.sampled_from((-1, 0, 1))
    )
    steps = data.draw(st.lists(signed, min_size=1, max_size=10))
    found = sign_test(steps)
    assert (found.p_value, found.p_drop) == pytest.approx(by_hand(steps), rel=1e-6)
    assert found.steps == sum(step != 0 for step in steps)


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=10))
@settings(max_examples=40, deadline=None)
def test_steps_of_any_size_have_it_within_a_few_patterns(steps: list[float]) -> None:
    found = sign_test(steps)
    largest = max(map(abs, steps))
    kept = [step if abs(step) > 1e-9 * largest else 0.0 for step in steps]
    two, drop = by_hand(kept) if any(kept) else (1.0, 1.0)
    # On a grid sums very near the observed one count as extreme: p is never too small by more.
    assert found.p_value >= two - 1e-3 and found.p_drop >= drop - 1e-3


def test_many_unlike_steps_have_the_p_value_of_many_draws() -> None:
    rng = np.random.default_rng(5)
    steps = rng.normal(0.05, 1.0, 800)
    signs = rng.choice([-1.0, 1.0], size=(20_000, 800))
    sums = signs @ np.abs(steps)
    found = sign_test(steps)
    # Four standard errors of a share of 20,000 draws are at most 0.015.
    assert found.p_value == pytest.approx(np.mean(np.abs(sums) >= abs(steps.sum())), abs=0.015)
    assert found.p_drop == pytest.approx(np.mean(sums <= steps.sum()), abs=0.015)


@given(st.integers(0, 40), st.integers(0, 40))
def test_steps_of_one_size_are_mcnemars_test(won: int, lost: int) -> None:
    found = sign_test([0.25] * won + [-0.25] * lost + [0.0])
    assert found.p_value == mcnemar(won, lost)
    if won + lost:
        below = scipy_stats.binomtest(won, won + lost, alternative="less").pvalue
        assert found.p_drop == pytest.approx(below, rel=1e-9)


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=50))
@settings(deadline=None, max_examples=20)
def test_turning_all_signs_leaves_the_two_sided_p_value(steps: list[float]) -> None:
    there, back = sign_test(steps), sign_test([-step for step in steps])
    assert there.p_value == pytest.approx(back.p_value, rel=1e-9)


def test_without_steps_nothing_is_surprising() -> None:
    assert sign_test([0.0, 0.0]) == (1.0, 1.0, 0)


def test_a_sign_test_says_what_is_wrong() -> None:
    with pytest.raises(ValueError, match="steps must be a non-empty list"):
        sign_test([])
