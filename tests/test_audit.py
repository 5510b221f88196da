"""What an audit counts, against IEEE 754 and tables worked by hand."""

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from rmbench.accuracy.audit import audit_answers, is_below_chance, rounding_spread
from rmbench.accuracy.credit import Outcome, Outcomes
from rmbench.answers.judgements import Judgement, Judgements, Preference
from rmbench.engine.precision import step, steps
from rmbench.scorers.contract import Facts, ScorerInfo
from rmbench.suite.catalogue import load_suite
from rmbench.suite.feed import open_feed

WON, TIED = Outcome(1.0, False), Outcome(0.0, True)


def audit(rewards: list[Judgement], *, dtype: str | None = None, **scored: Any) -> dict[str, Any]:
    settings = {} if dtype is None else {"dtype": dtype}
    info = ScorerInfo(id="m", kind="own", settings=settings)
    credit = np.array([math.nan if item.is_dropped else 1.0 for item in rewards])
    outcomes = Outcomes(credit, np.zeros(len(rewards), dtype=np.bool_))
    return audit_answers(Judgements.of(rewards), outcomes, Facts(**scored), info)


def test_comparisons_answered_in_one_order_only_are_counted() -> None:
    both = (Preference((0, 1), (1.0, 0.0)), Preference((1, 0), (0.0, 1.0)))
    one = (Preference((0, 1), (1.0, 0.0)), Preference((1, 0), None))
    none = (Preference((0, 1), None), Preference((1, 0), None))
    items = [Judgement(f"a/{i}", (None,), (None,), x) for i, x in enumerate((both, one, none))]
    found = audit(items)
    assert (found["unanswered"], found["one_order"], found["orders_disagree"]) == (3, 1, 0)
    margins = Judgements.of(items).best_margins()
    assert [math.isnan(margin) for margin in margins] == [False, True, True]


def pair(chosen: float | None, rejected: float | None) -> Judgement:
    return Judgement("a/1", (chosen,), (rejected,))


# numpy's spacing of the largest float32 reaches for the next one, and overflows.
@given(st.floats(min_value=-(2.0**127), max_value=2.0**127, width=32))
def test_the_step_of_float32_is_numpys_spacing(reward: float) -> None:
    assert step(reward, "float32") == abs(float(np.spacing(np.float32(reward))))


# Above 65472 numpy's next float16 is infinity; below 0 it looks for the next one towards 0.
@given(st.floats(width=16, min_value=-65472, max_value=65472))
def test_the_step_of_float16_is_numpys_spacing(reward: float) -> None:
    assert step(reward, "float16") == float(np.spacing(np.float16(abs(reward))))


@pytest.mark.parametrize(
    ("reward", "expected"),
    [
        # bfloat16 has 7 bits of mantissa: 2^-7 in [1, 2), and twice as much in each next octave.
        (1.0, 2**-7),
        (1.99, 2**-7),
        (2.0, 2**-6),
        (-3.0, 2**-6),
        (0.5, 2**-8),
        (100.0, 2**-1),
        (0.0, 2.0**-133),
        # One ulp of float64 below 8 is not yet the octave of 8.
        (math.nextafter(8.0, 0.0), 2**-5),
    ],
)
def test_the_step_of_bfloat16_is_that_of_seven_bits(reward: float, expected: float) -> None:
    assert step(reward, "bfloat16") == expected


def test_an_unknown_precision_counts_as_float32() -> None:
    assert step(1.0, "int4") == step(1.0, "float32") == 2**-23


@pytest.mark.parametrize(
    ("chosen", "rejected", "dtype", "near"),
    [
        (2.0, 2.0 + 2**-7, "bfloat16", 1),  # half a step of the octave of 2
        (2.0, 2.0 + 2**-6, "bfloat16", 0),  # one whole step
        (2.0, 2.0, "bfloat16", 0),  # a tie, which is counted elsewhere
        (2.0, 2.0 + 2**-7, "float32", 0),
        (2.0, 2.0 + 2**-7, None, 0),
        (-2.0, 2.0, "bfloat16", 0),
        (None, 2.0, "bfloat16", 0),
    ],
)
def test_a_near_tie_is_a_margin_below_one_step(
    chosen: float | None, rejected: float, dtype: str | None, near: int
) -> None:
    assert audit([pair(chosen, rejected)], dtype=dtype)["near_ties"] == near


def test_near_ties_are_between_the_best_of_each_side() -> None:
    close = 2.0 + 2**-7
    far = Judgement("a/1", (0.0, 2.0), (close, 4.0))
    near = Judgement("a/2", (0.0, 2.0), (close, 1.0))
    assert audit([far], dtype="bfloat16")["near_ties"] == 0
    assert audit([near], dtype="bfloat16")["near_ties"] == 1


def test_ties_and_dropped_comparisons_are_counted() -> None:
    rewards = [pair(1.0, 1.0), pair(2.0, 1.0), pair(None, 1.0), pair(1.0, 1.0)]
    outcomes = Outcomes(np.array([0.0, 1.0, np.nan, 0.0]), np.array([True, False, False, True]))
    info = ScorerInfo(id="m", kind="own")
    found = audit_answers(Judgements.of(rewards), outcomes, Facts(), info)
    assert found == {"ties": 2, "near_ties": 0, "dropped": 1, "identical_inputs": 0}


def test_equal_inputs_are_counted_across_sides_only() -> None:
    rewards = [
        Judgement("a/1", (1.0, 1.0), (0.0,)),  # inputs 1 1 | 2: both chosen ones are the same text
        Judgement("a/2", (1.0,), (0.0, 0.0)),  # inputs 3 | 4 3: a chosen and a rejected one are
        Judgement("a/3", (1.0,), (0.0,)),  # inputs 3 | 5
    ]
    assert audit(rewards, inputs=[1, 1, 2, 3, 4, 3, 3, 5])["identical_inputs"] == 1
    assert audit(rewards)["identical_inputs"] == 0


def test_what_the_scorer_counted_is_kept() -> None:
    assert audit([pair(1.0, 0.0)], audit={"overflowed": 3})["overflowed"] == 3


@given(
    st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=20),
    st.sampled_from(["float32", "float16", "bfloat16"]),
)
def test_steps_are_those_of_each_reward(rewards: list[float], dtype: str) -> None:
    found = steps(np.array(rewards, dtype=np.float32), dtype)
    assert found.tolist() == [step(reward, dtype) for reward in rewards]


# --- below chance and rounding -------------------------------------------------------------------


def outcomes(wins: int, losses: int, ties: int = 0) -> Outcomes:
    credit = [1.0] * wins + [0.0] * (losses + ties)
    return Outcomes(np.array(credit), np.array([False] * (wins + losses) + [True] * ties))


@pytest.mark.parametrize(
    ("wins", "losses", "ties", "below"),
    [
        (42, 28, 30, False),  # 42 % of all, for ties earn nothing, and 60 % of the decided
        (28, 42, 30, False),  # scipy: P(X <= 28) of 70 coins = 0.060
        (25, 45, 30, True),  # 0.011
        (0, 0, 50, False),
        (0, 5, 0, False),  # 1 / 32
        (0, 6, 0, True),  # 1 / 64
    ],
)
def test_below_chance_is_more_losses_than_wins_beyond_chance(
    wins: int, losses: int, ties: int, below: bool
) -> None:
    assert is_below_chance(load_suite("mini"), outcomes(wins, losses, ties)) is below


def test_below_chance_counts_prompts_and_not_their_rows() -> None:
    suite = load_suite("mini")
    found = outcomes(0, 40)
    assert is_below_chance(suite, found)
    assert not is_below_chance(suite, found, clusters=np.repeat(range(5), 8))
    assert is_below_chance(suite, found, clusters=np.repeat(range(8), 5))


def test_rounding_moves_the_headline_by_the_root_of_the_sum_of_what_may_flip() -> None:
    # The mean of four sections: two of 30 comparisons and two of 60 and 120, as mini has them.
    suite = load_suite("mini")
    contents = open_feed(suite).contents
    tied = Judgements(contents.ids, contents.sides, np.ones(2 * len(contents.ids)))
    counts = Counter(
        section.name
        for name in contents.subsets
        for section in suite.sections
        if name in section.subsets
    )
    # Every tie flips with a chance of 1/2, so the variance is the sum of (1 / 4 / n)^2 / 4.
    expected = math.sqrt(sum(1 / 64 / n for n in counts.values()))
    found = rounding_spread(suite, contents.subsets, tied, dtype="bfloat16")
    assert found == pytest.approx(expected)
    apart = Judgements(contents.ids, contents.sides, np.resize([1.0, 0.0], tied.rewards.size))
    assert rounding_spread(suite, contents.subsets, apart, dtype="bfloat16") == pytest.approx(0.0)


def test_a_margin_of_one_step_flips_with_the_chance_of_one_deviation() -> None:
    suite = load_suite("mini").model_copy(update={"headline": "pooled"})
    ids = [f"{name}/{i}" for i, name in enumerate(open_feed(suite).contents.subsets)]
    near = Judgements.of([Judgement(name, (2.0 + 2**-6,), (2.0,)) for name in ids])
    q = scipy_stats.norm.sf(1.0)
    found = rounding_spread(suite, [name.partition("/")[0] for name in ids], near, dtype="bfloat16")
    assert found == pytest.approx(math.sqrt(q * (1 - q) / len(ids)), rel=1e-6)


def test_rounding_is_not_known_of_preferences_and_of_headlines_that_are_not_there() -> None:
    suite = load_suite("mini")
    asked = Judgement("a/1", (None,), (None,), (Preference((0, 1), (0.6, 0.4)),))
    assert rounding_spread(suite, ["a"], Judgements.of([asked]), dtype="float32") is None
    assert rounding_spread(suite, ["a"], Judgements.of([pair(1.0, 0.0)]), dtype="float32") is None
