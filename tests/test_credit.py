"""What a comparison earns, against tables worked by hand and counts published elsewhere."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scored import TOY

from rmbench.accuracy.credit import Outcome, credit, judge
from rmbench.answers.judgements import Judgement, Judgements, Preference
from rmbench.errors import ScorerError
from rmbench.suite.definition import Credit

# Wins and ties of 447, as counted by the README that stands beside the scores (its note 8).
MATH_PRM = {
    "ArmoRM": (415, 1),
    "Eurus-RM": (272, 0),
    "GRM-Llama3-8B": (409, 0),
    "GRM_Gemma_2B": (416, 0),
    "Skywork-Llama-3.1-8B": (433, 0),
    "beaver": (230, 0),
    "internlm2": (415, 0),
    "internlm2-20b": (425, 0),
    "oasst-rm": (270, 0),
}

# Whole numbers, so that every function below is exact in float32.
rewards = st.lists(st.integers(-100, 100), min_size=1, max_size=6)
finite = st.floats(width=32, allow_nan=False, allow_infinity=False)


def earned(chosen: list[float], rejected: list[float], rule: Credit) -> Outcome:
    judgements = Judgements.of([Judgement("a/1", tuple(chosen), tuple(rejected))])
    credits, ties = credit(next(judgements.blocks()), rule)
    return Outcome(float(credits[0]), bool(ties[0]))


@pytest.mark.parametrize("tie", [0.0, 0.5, 1.0])
@pytest.mark.parametrize(
    ("chosen", "rejected", "expected"),
    [(2.0, 1.0, 1.0), (1.0, 2.0, 0.0), (-1.0, -2.0, 1.0), (0.0, -0.0, None), (3.5, 3.5, None)],
)
def test_a_pair_is_won_lost_or_tied(
    chosen: float, rejected: float, expected: float | None, tie: float
) -> None:
    wanted = Outcome(tie, True) if expected is None else Outcome(expected, False)
    assert earned([chosen], [rejected], Credit(rule="pair", tie=tie)) == wanted


def test_the_smallest_margin_that_float32_holds_wins_a_pair() -> None:
    above = float(np.nextafter(np.float32(1.0), np.float32(2.0)))
    assert earned([above], [1.0], Credit()) == Outcome(1.0, False)


@pytest.mark.parametrize(
    ("chosen", "rejected", "expected"),
    [
        ([3.0], [1.0, 2.0, 2.5], Outcome(1.0, False)),
        ([2.0], [1.0, 3.0, 0.0], Outcome(0.0, False)),
        # k responses share the top, one of them the chosen one: 1/k.
        ([3.0], [3.0, 1.0, 0.0], Outcome(1 / 2, True)),
        ([3.0], [3.0, 3.0, 0.0], Outcome(1 / 3, True)),
        ([3.0], [3.0, 3.0, 3.0], Outcome(1 / 4, True)),
        # Rejected responses that tie below the top, or with each other at the top, change nothing.
        ([3.0], [2.0, 2.0, 2.0], Outcome(1.0, False)),
        ([1.0], [2.0, 2.0, 0.0], Outcome(0.0, False)),
        # Of several chosen ones the best counts; the credit is their share of the top.
        ([3.0, 0.0], [2.0, 1.0], Outcome(1.0, False)),
        ([3.0, 3.0], [2.0, 1.0], Outcome(1.0, False)),
        ([3.0, 3.0], [3.0, 1.0], Outcome(2 / 3, True)),
        ([0.0, 1.0], [3.0], Outcome(0.0, False)),
    ],
)
def test_best_of_earns_the_chosen_share_of_the_top(
    chosen: list[float], rejected: list[float], expected: Outcome
) -> None:
    assert earned(chosen, rejected, Credit(rule="best-of")) == expected


@given(
    st.integers(-100, 100), st.integers(-100, 100), st.integers(1, 1000), st.integers(-9000, 9000)
)
def test_a_strictly_increasing_function_leaves_a_pair_as_it_was(
    chosen: int, rejected: int, slope: int, offset: int
) -> None:
    rule = Credit(tie=0.5)
    moved = earned([slope * chosen + offset], [slope * rejected + offset], rule)
    assert moved == earned([chosen], [rejected], rule)


@given(rewards, rewards)
def test_a_strictly_increasing_function_leaves_best_of_as_it_was(
    chosen: list[int], rejected: list[int]
) -> None:
    rule = Credit(rule="best-of")
    # x^3 is increasing, and at most 10^6 here, which float32 holds exactly.
    cubes = earned([x**3 for x in chosen], [x**3 for x in rejected], rule)
    assert cubes == earned(chosen, rejected, rule)


@given(finite, finite)
def test_swapped_sides_earn_the_rest_when_a_tie_counts_half(first: float, second: float) -> None:
    rule = Credit(tie=0.5)
    there, back = earned([first], [second], rule), earned([second], [first], rule)
    assert back == Outcome(1.0 - there.credit, there.tied)


@given(rewards, rewards)
def test_best_of_with_swapped_sides_earns_the_rest(chosen: list[int], rejected: list[int]) -> None:
    rule = Credit(rule="best-of")
    there, back = earned(chosen, rejected, rule), earned(rejected, chosen, rule)
    assert back.credit == pytest.approx(1.0 - there.credit, abs=1e-15)
    assert back.tied == there.tied


@given(rewards, rewards)
def test_best_of_does_not_depend_on_the_order_of_responses(
    chosen: list[int], rejected: list[int]
) -> None:
    rule = Credit(rule="best-of")
    assert earned(chosen[::-1], rejected[::-1], rule) == earned(chosen, rejected, rule)


def test_nine_reward_models_win_and_tie_math_prm_as_counted_elsewhere(test_data: Path) -> None:
    with gzip.open(test_data / "rm_scores_rewardbench_math_prm.jsonl.gz", "rt") as stream:
        rows = [json.loads(line)["scores"] for line in stream]
    assert len(rows) == 447
    counts = {}
    for model in MATH_PRM:
        outcomes = [earned([row[model][0]], [row[model][1]], Credit()) for row in rows]
        wins = sum(outcome == Outcome(1.0, False) for outcome in outcomes)
        counts[model] = (wins, sum(outcome.tied for outcome in outcomes))
    assert counts == MATH_PRM


def preferred(*margins: float) -> Judgement:
    """Return a comparison with one chosen response and these margins over the rejected ones."""
    asked = tuple(
        Preference((0, number), ((1 + margin) / 2, (1 - margin) / 2))
        for number, margin in enumerate(margins, 1)
    )
    return Judgement("a/1", (None,), (None,) * len(margins), asked)


@pytest.mark.parametrize(
    ("margins", "expected"),
    [
        ((0.5, 0.25), Outcome(1.0, False)),
        ((0.5, -0.25), Outcome(0.0, False)),
        ((0.5, 0.0), Outcome(0.5, True)),
        ((0.0, 0.0), Outcome(1 / 3, True)),
        ((0.0, -1.0), Outcome(0.0, False)),
    ],
)
def test_best_of_needs_no_more_than_the_margins_of_one_chosen_response(
    margins: tuple[float, ...], expected: Outcome
) -> None:
    (block,) = Judgements.of([preferred(*margins)]).blocks()
    credits, ties = credit(block, Credit(rule="best-of"))
    assert Outcome(float(credits[0]), bool(ties[0])) == expected


def test_best_of_with_several_chosen_responses_needs_rewards() -> None:
    asked = (Preference((0, 2), (0.5, 0.5)), Preference((1, 2), (0.5, 0.5)))
    (block,) = Judgements.of([Judgement("a/1", (None, None), (None,), asked)]).blocks()
    with pytest.raises(ScorerError, match="take a scorer that gives rewards"):
        credit(block, Credit(rule="best-of"))


def test_a_comparison_without_an_answer_is_dropped_for_rewards_and_lost_for_preferences() -> None:
    rewards = [Judgement("a/1", (1.0,), (None,)), Judgement("a/2", (1.0,), (0.0,))]
    assert list(judge(TOY, rewards)) == [None, Outcome(1.0, False)]
    asked = [
        Judgement("a/1", (None,), (None,), (Preference((0, 1), None),)),
        preferred(0.5),
    ]
    assert list(judge(TOY, asked)) == [Outcome(0.0, False), Outcome(1.0, False)]
    even = TOY.model_copy(update={"credit": Credit(tie=0.5, unanswered="even")})
    assert list(judge(even, asked)) == [Outcome(0.5, True), Outcome(1.0, False)]
    assert list(judge(even, rewards)) == [None, Outcome(1.0, False)]
