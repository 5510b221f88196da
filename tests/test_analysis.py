"""Length bias, calibration and agreement; expected values from scipy, statsmodels and by hand."""

import math

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit
from statsmodels.stats.inter_rater import cohens_kappa
from statsmodels.stats.proportion import proportion_confint

from rmbench.accuracy.analysis import (
    LengthBias,
    Sureness,
    agreement,
    analyse,
    ending,
    length_bias,
    margin_calibration,
    sureness,
)
from rmbench.accuracy.credit import Outcome
from rmbench.answers.judgements import Judgement, Judgements
from rmbench.suite.comparison import Comparison, Message

WON, LOST, TIED = Outcome(1.0, False), Outcome(0.0, False), Outcome(0.0, True)
LETTERS = {"w": WON, "l": LOST, "t": TIED, "d": None}


def outcomes(letters: str) -> list[Outcome | None]:
    return [LETTERS[letter] for letter in letters]


# --- margin and ending ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chosen", "rejected", "expected"),
    [
        ((2.0,), (0.5,), 1.5),
        ((1.0,), (0.5, 3.0), -2.0),  # the best rejected one decides
        ((1.0, 4.0), (3.0,), 1.0),
        ((None,), (1.0,), None),
        ((1.0, None), (0.0,), None),
    ],
)
def test_a_margin_is_between_the_best_of_each_side(
    chosen: tuple[float | None, ...], rejected: tuple[float | None, ...], expected: float | None
) -> None:
    margin = Judgements.of([Judgement("s/1", chosen, rejected)]).best_margins()[0]
    assert margin == expected or (expected is None and math.isnan(margin))


def test_every_outcome_has_one_ending() -> None:
    shared = Outcome(0.5, True)  # best-of with an equal rejected response
    found = [ending(outcome) for outcome in (WON, LOST, TIED, shared, None)]
    assert found == ["won", "lost", "tied", "tied", "dropped"]


def test_a_tie_that_earns_full_credit_is_still_no_win() -> None:
    assert ending(Outcome(1.0, True)) == "tied"


# --- length --------------------------------------------------------------------------------------


def test_the_difference_in_length_is_the_margin_of_the_length_baseline() -> None:
    comparison = Comparison(
        id="s/1",
        subset="s",
        prompt=(Message("user", "?"),),
        chosen=("four", "\U0001f642"),  # a code point beyond the basic plane is one character
        rejected=("1", "seven77"),
    )
    assert comparison.length_difference() == 4 - 7


def test_accuracy_is_split_by_the_sign_of_the_difference() -> None:
    bias = length_bias([10, 20, 30, 0, -5, -6, -7], outcomes("wwltlld"))
    assert bias is not None and bias.longer and bias.equal and bias.shorter
    assert (bias.longer.n, bias.longer.wins) == (3, 2)
    assert (bias.equal.n, bias.equal.ties) == (1, 1)
    assert (bias.shorter.n, bias.shorter.accuracy) == (2, 0.0)
    # statsmodels 0.14: Wilson's interval of 2 of 3
    low, high = proportion_confint(2, 3, method="wilson")
    assert (bias.longer.low, bias.longer.high) == pytest.approx((low, high))


def test_the_slope_is_that_of_statsmodels_per_thousand_characters() -> None:
    rng = np.random.default_rng(5)
    differences = rng.integers(-3000, 3000, size=400)
    won = rng.random(400) < expit(0.3 + differences / 1000 * 0.8)
    bias = length_bias(differences.tolist(), [WON if item else LOST for item in won])
    fit = sm.Logit(won.astype(float), sm.add_constant(differences / 1000)).fit(disp=0)
    assert bias is not None and bias.fit is not None
    assert bias.fit.slope == pytest.approx(fit.params[1], rel=1e-6)
    assert bias.fit.standard_error == pytest.approx(fit.bse[1], rel=1e-4)


def test_a_length_judge_has_no_finite_slope() -> None:
    bias = length_bias([-2, -1, 1, 2], outcomes("llww"))
    assert bias is not None and bias.fit is not None
    assert not bias.fit.converged
    assert bias.fit.slope > 0


def test_equal_lengths_throughout_have_no_slope() -> None:
    bias = length_bias([7, 7, 7], outcomes("wlw"))
    assert bias is not None
    assert bias.fit is None
    assert bias.shorter is None and bias.equal is None


def test_without_a_scored_comparison_there_is_no_bias() -> None:
    assert length_bias([1, 2], outcomes("dd")) is None


@given(
    st.lists(
        st.tuples(st.integers(-500, 500), st.sampled_from([WON, LOST, TIED])),
        min_size=1,
        max_size=300,
    )
)
def test_bins_hold_every_comparison_once_and_never_both_signs(
    pairs: list[tuple[int, Outcome]],
) -> None:
    bias = length_bias([d for d, _ in pairs], [outcome for _, outcome in pairs])
    assert bias is not None
    assert sum(each.accuracy.n or 0 for each in bias.bins) == len(pairs)
    for each in bias.bins:
        assert each.low <= each.middle <= each.high
        assert each.low * each.high > 0 or each.low == each.high == 0
    assert [each.low for each in bias.bins] == sorted(each.low for each in bias.bins)
    wins = sum((each.accuracy.wins or 0) for each in bias.bins)
    assert wins == sum(outcome is WON for _, outcome in pairs)


# --- calibration ---------------------------------------------------------------------------------


def test_calibration_by_hand() -> None:
    # sigmoid(log 4) = 0.8 three times, two of them right: |2/3 - 0.8|; a tie at 0.5, half right: 0.
    # Error (3 * (0.8 - 2/3) + 0) / 4 = 0.1; Brier (0.04 + 0.04 + 0.64 + 0) / 4 = 0.18.
    found = margin_calibration([math.log(4), math.log(4), -math.log(4), 0.0, None])
    assert found is not None
    assert found.error == pytest.approx(0.1)
    assert found.brier == pytest.approx(0.18)
    assert sum(each.n for each in found.bins) == 4


def test_a_model_as_often_right_as_it_is_sure_has_little_error() -> None:
    rng = np.random.default_rng(3)
    size = rng.exponential(1.0, 50_000)
    right = rng.random(50_000) < expit(size)
    found = margin_calibration(np.where(right, size, -size).tolist())
    assert found is not None
    assert found.error < 0.01


def test_margins_of_any_size_are_finite_confidences() -> None:
    found = margin_calibration([1e6, -1e6, 3.4e38])
    assert found is not None
    # Always sure, right two times in three.
    assert found.error == pytest.approx(1 / 3)


def test_without_margins_there_is_no_calibration() -> None:
    assert margin_calibration([None, None]) is None


# --- agreement -----------------------------------------------------------------------------------


def test_kappa_is_that_of_statsmodels() -> None:
    rng = np.random.default_rng(11)
    first = rng.choice(list("wlt"), 300, p=[0.6, 0.3, 0.1])
    second = np.where(rng.random(300) < 0.6, first, rng.choice(list("wlt"), 300))
    table = [[int(np.sum((first == a) & (second == b))) for b in "wlt"] for a in "wlt"]
    found = agreement(outcomes("".join(first)), outcomes("".join(second)))
    assert found is not None and found.kappa is not None
    assert found.kappa == pytest.approx(cohens_kappa(np.array(table)).kappa)
    assert found.same == pytest.approx(np.mean(first == second))


def test_only_comparisons_that_both_scored_count() -> None:
    found = agreement(outcomes("wwdl"), outcomes("wldd"))
    assert found is not None
    assert (found.n, found.same) == (2, 0.5)


def test_models_that_always_win_agree_but_have_no_kappa() -> None:
    found = agreement(outcomes("www"), outcomes("www"))
    assert found is not None
    assert (found.same, found.kappa) == (1.0, None)


def test_models_that_share_no_comparison_have_no_agreement() -> None:
    assert agreement(outcomes("wd"), outcomes("dw")) is None


# --- one result ----------------------------------------------------------------------------------


def test_sureness_by_hand() -> None:
    # sigmoid(ln 4) = 0.8 three times, right twice; sigmoid(ln 1.5) = 0.6 once, right.
    found = sureness([math.log(4), math.log(4), -math.log(4), math.log(1.5), None])
    assert found is not None
    assert found.n == 4
    assert found.confidence == pytest.approx((3 * 0.8 + 0.6) / 4)
    assert found.right == pytest.approx(3 / 4)
    assert found.error == pytest.approx((3 * abs(2 / 3 - 0.8) + abs(1 - 0.6)) / 4)
    assert found.brier == pytest.approx((2 * 0.2**2 + 0.8**2 + 0.4**2) / 4)


def test_a_model_that_is_as_sure_as_right_is_not_told() -> None:
    sure = Sureness(error=0.2, brier=0.2, confidence=0.9, right=0.7, n=100)
    assert sure.tells  # Wilson's interval of 70 of 100 ends at 0.78
    assert not Sureness(error=0.2, brier=0.2, confidence=0.9, right=0.7, n=4).tells
    assert not Sureness(error=0.04, brier=0.2, confidence=0.9, right=0.7, n=100).tells


@pytest.mark.parametrize(
    ("letters", "tells"), [("w" * 20 + "l" * 20, True), ("wl" * 20, False), ("w" * 40, False)]
)
def test_length_tells_when_the_intervals_of_its_two_sides_part(letters: str, tells: bool) -> None:
    bias = length_bias([1] * 20 + [-1] * 20, outcomes(letters))
    assert bias is not None
    assert bias.tells == tells


def test_length_cannot_tell_with_one_side_alone() -> None:
    bias = length_bias([1, 2, 0], outcomes("wlt"))
    assert isinstance(bias, LengthBias)
    assert not bias.tells


def test_equal_differences_share_a_bin() -> None:
    rng = np.random.default_rng(3)
    differences = rng.integers(-4, 5, size=500).tolist()
    bias = length_bias(differences, outcomes("wl" * 250))
    assert bias is not None
    for before, after in zip(bias.bins, bias.bins[1:], strict=False):
        assert before.high < after.low


def test_a_rule_has_no_calibration_and_unknown_lengths_no_bias() -> None:
    rewards = [Judgement("s/1", (1.0,), (0.0,)), Judgement("s/2", (None,), (0.0,))]
    found = analyse(rewards, outcomes("wd"), differences=[5, 6], scale="ordinal")
    assert found.calibration is None
    assert list(found.by_length()) == ["chosen longer"]
    found = analyse(rewards, outcomes("wd"), differences=None, scale="log-odds")
    assert (found.length, found.by_length()) == (None, {})
    assert found.calibration is not None and found.calibration.n == 1


def test_lengths_that_are_not_one_per_comparison_are_refused() -> None:
    with pytest.raises(ValueError, match="2 differences in length for 1 outcomes"):
        length_bias([1, 2], outcomes("w"))
