"""Several tests at once: Holm against statsmodels, the maximum against enumeration."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from rmbench.accuracy.signs import sign_test
from rmbench.compare.family import holm, max_t

p_value_lists = st.lists(st.floats(0.0, 1.0), min_size=1, max_size=30)


@given(p_value_lists)
@settings(deadline=None, max_examples=12)  # statsmodels takes a tenth of a second for each
def test_holm_is_that_of_statsmodels(p: list[float]) -> None:
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1].tolist(), abs=1e-15)


@given(p_value_lists)
def test_holm_keeps_the_order_and_never_lowers_a_p_value(p: list[float]) -> None:
    adjusted = holm(p)
    pairs = sorted(zip(p, adjusted, strict=True))
    assert [b for _, b in pairs] == sorted(adjusted)
    assert all(a <= b <= 1.0 for a, b in pairs)


def test_holm_by_hand_with_ties() -> None:
    # Sorted: 0.01 * 4, 0.01 * 3, 0.03 * 2, 0.2 * 1, each at least the one before.
    assert holm([0.03, 0.01, 0.2, 0.01]) == pytest.approx([0.06, 0.04, 0.2, 0.04])


@pytest.mark.parametrize(
    ("p", "message"),
    [([], "p_values must be a non-empty list"), ([0.5, 1.1], r"must be in \[0, 1\]")],
)
def test_holm_says_what_is_wrong(p: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        holm(p)


STEPS = np.array(
    [[1, 0, 1], [1, 0, 1], [-1, 0, -1], [1, 0, 1], [0, -1, -1], [0, 1, 1], [0, 1, 1], [1, 1, 2.0]]
)


def _alone(steps: np.ndarray, *, drops: bool) -> list[float]:
    found = [sign_test(column) for column in steps.T]
    return [item.p_drop if drops else item.p_value for item in found]


@pytest.mark.parametrize("drops", [False, True])
def test_the_largest_of_several_sums_has_the_p_value_of_all_patterns(drops: bool) -> None:
    steps = -STEPS if drops else STEPS
    scale = np.sqrt((steps**2).sum(axis=0))
    signs = np.array(list(product([-1, 1], repeat=len(steps))))
    sums = signs @ (steps / scale)
    values, seen = (
        (-sums, -steps.sum(0) / scale) if drops else (abs(sums), abs(steps.sum(0) / scale))
    )
    order = np.argsort(-seen)
    expected, lowest = np.empty(3), 0.0
    for place, slice_ in enumerate(order):
        largest = values[:, order[place:]].max(axis=1)
        lowest = max(lowest, float(np.mean(largest >= seen[slice_] - 1e-9)))
        expected[slice_] = lowest
    found = max_t(steps, _alone(steps, drops=drops), alpha=0.05, drops=drops)
    assert found.adjusted == pytest.approx(
        np.maximum(expected, _alone(steps, drops=drops)), abs=0.02
    )


@given(
    st.lists(
        st.lists(st.sampled_from([-1.0, 0.0, 1.0]), min_size=3, max_size=3), min_size=2, max_size=30
    )
)
@settings(deadline=None, max_examples=25)
def test_an_adjusted_value_lies_between_the_value_alone_and_bonferronis(
    rows: list[list[float]],
) -> None:
    steps = np.array(rows)
    alone = _alone(steps, drops=False)
    found = max_t(steps, alone, alpha=0.05)
    for p, adjusted in zip(alone, found.adjusted, strict=True):
        assert p <= adjusted <= min(1.0, 3 * p) + 1e-12


def test_the_same_slice_twice_costs_nothing() -> None:
    column = np.array([1.0] * 9 + [-1.0])
    alone = sign_test(column).p_value
    found = max_t(np.column_stack([column, column]), [alone, alone], alpha=0.05)
    assert found.adjusted == pytest.approx([alone, alone], abs=0.004)


def test_few_steps_cannot_reach_a_small_p_value() -> None:
    steps = np.zeros((40, 2))
    steps[:5, 0], steps[:, 1] = 1.0, np.resize([1.0, -1.0], 40)
    found = max_t(steps, _alone(steps, drops=True), alpha=0.01, drops=True)
    # All five down have a chance of 2 ** -5 alone, and the other slice adds to it.
    assert found.reachable[0] >= 2**-5 - 0.005
    assert found.reachable[1] < 0.01


def test_draws_go_on_near_alpha_and_are_the_same_again() -> None:
    column = np.array([1.0] * 19 + [-1.0] * 8)
    steps = np.column_stack([column, -column[::-1]])
    alone = _alone(steps, drops=False)
    near, far = (max_t(steps, alone, alpha=alpha) for alpha in (0.0891, 0.5))
    assert near == max_t(steps, alone, alpha=0.0891)
    assert near.draws > far.draws
