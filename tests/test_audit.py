"""What an audit counts, against IEEE 754 and tables worked by hand."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmbench.accuracy.audit import audit_answers
from rmbench.accuracy.credit import Outcome, Outcomes
from rmbench.answers.judgements import Judgement, Judgements
from rmbench.engine.precision import step
from rmbench.scorers.contract import Facts, ScorerInfo

WON, TIED = Outcome(1.0, False), Outcome(0.0, True)


def audit(rewards: list[Judgement], *, dtype: str | None = None, **scored: Any) -> dict[str, Any]:
    settings = {} if dtype is None else {"dtype": dtype}
    info = ScorerInfo(id="m", kind="own", settings=settings)
    credit = np.array([math.nan if item.is_dropped else 1.0 for item in rewards])
    outcomes = Outcomes(credit, np.zeros(len(rewards), dtype=np.bool_))
    return audit_answers(Judgements.of(rewards), outcomes, Facts(**scored), info)


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
