"""One result's analyses, and how comparisons end."""

import math

import pytest

from rmbench.accuracy.analysis import Groups, analyse, ending
from rmbench.accuracy.credit import Outcome
from rmbench.answers.judgements import Judgement, Judgements, Preference
from rmbench.suite.comparison import Comparison, Message

WON, LOST, TIED = Outcome(1.0, False), Outcome(0.0, False), Outcome(0.0, True)
LETTERS = {"w": WON, "l": LOST, "t": TIED, "d": None}


def outcomes(letters: str) -> list[Outcome | None]:
    return [LETTERS[letter] for letter in letters]


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


def test_the_difference_in_length_is_the_margin_of_the_length_baseline() -> None:
    comparison = Comparison(
        id="s/1",
        subset="s",
        prompt=(Message("user", "?"),),
        chosen=("four", "\U0001f642"),  # a code point beyond the basic plane is one character
        rejected=("1", "seven77"),
    )
    assert comparison.length_difference() == 4 - 7


def test_a_rule_has_no_calibration_and_unknown_lengths_no_bias() -> None:
    rewards = [Judgement("s/1", (1.0,), (0.0,)), Judgement("s/2", (None,), (0.0,))]
    groups = Groups(subsets=["s", "s"])
    found = analyse(rewards, outcomes("wd"), groups, differences=[5, 6], scale="ordinal")
    assert found.calibration is None
    assert list(found.by_length()) == ["chosen longer"]
    found = analyse(rewards, outcomes("wd"), groups, differences=None, scale="log-odds")
    assert (found.length, found.by_length()) == (None, {})
    assert found.calibration is not None and found.calibration.n == 1


def test_shares_are_as_sure_as_they_say_on_a_scale_of_probabilities_alone() -> None:
    asked = [
        Judgement(f"s/{i}", (None,), (None,), (Preference((0, 1), (share, 1 - share)),))
        for i, share in enumerate((0.75, 0.75, 0.25, 1.0))
    ]
    groups = Groups(subsets=["s"] * 4)
    results = outcomes("wwlw")
    found = analyse(asked, results, groups, differences=None, scale="probability").calibration
    assert found is not None
    # Each is sure by the larger share: (0.25^2 + 0.25^2 + 0.75^2 + 0) / 4.
    assert found.brier == pytest.approx(0.171875, abs=1e-6)
    assert found.confidence == pytest.approx((0.75 * 3 + 1.0) / 4, abs=1e-6)
    assert analyse(asked, results, groups, differences=None, scale="ordinal").calibration is None
