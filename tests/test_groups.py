"""Rules on groups and lists, against hand arithmetic and what must hold for every model."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmbench.accuracy.clusters import sample_of, value_interval
from rmbench.accuracy.credit import check_answers, judge
from rmbench.accuracy.groups import Whole, _harmonic
from rmbench.answers.judgements import Judgement, Judgements
from rmbench.answers.lines import judgement_line, read_judgements
from rmbench.errors import ResultError, ScorerError
from rmbench.result.measured import recompute
from rmbench.suite.definition import Credit, Suite
from tests.scored import TOY

numbers = st.integers(-3, 3)
lists = st.lists(numbers, min_size=1, max_size=4)


def suite(**credit: object) -> Suite:
    update = {"credit": Credit(**credit), "sections": (), "averages": TOY.averages[:1]}
    return TOY.model_copy(update=update | {"headline": "pooled"})


def earned(chosen: list[int], rejected: list[int], **credit: object) -> tuple[float, bool]:
    (outcome,) = judge(suite(**credit), [Judgement("a/0", tuple(chosen), tuple(rejected))])
    assert outcome is not None
    return outcome.credit, outcome.tied


def value(judgements: list[Judgement], **credit: object) -> float:
    subsets = [item.id.partition("/")[0] for item in judgements]
    return recompute(suite(**credit), subsets, judgements).averages["pooled"].accuracy


# --- one comparison ------------------------------------------------------------------------------

RULES = (
    {"rule": "best-of", "tie": "lose", "several": True},
    {"rule": "best-of", "several": True},
    {"rule": "all-of"},
    {"rule": "all-pairs"},
    {"rule": "rank"},
)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"rule": "best-of", "tie": "lose", "several": True}, 0.0),
        ({"rule": "best-of", "several": True}, 1 / 2),
        ({"rule": "all-of"}, 0.0),
        ({"rule": "all-pairs"}, 3 / 6),  # 2 above 1 and 0; 1 above 0
        ({"rule": "rank"}, 1 / 2),  # one rejected response stands at 2, before it
    ],
)
def test_two_against_three_by_hand(rule: dict[str, object], expected: float) -> None:
    assert earned([2, 1], [2, 1, 0], **rule) == (pytest.approx(expected), rule["rule"] != "all-of")


@pytest.mark.parametrize("rule", RULES, ids=str)
@given(lists, lists, st.randoms())
def test_the_order_of_responses_does_not_count(
    rule: dict[str, object], chosen: list[int], rejected: list[int], random: object
) -> None:
    there = earned(chosen, rejected, **rule)
    random.shuffle(chosen)  # type: ignore[attr-defined]
    assert earned(chosen, rejected[::-1], **rule) == there
    assert 0.0 <= there[0] <= 1.0


@pytest.mark.parametrize("rule", RULES, ids=str)
@given(lists, lists)
def test_what_stands_above_all_earns_everything_and_equal_rewards_a_known_share(
    rule: dict[str, object], chosen: list[int], rejected: list[int]
) -> None:
    assert earned([x + 10 for x in chosen], rejected, **rule) == (1.0, False)
    equal = earned([0] * len(chosen), [0] * len(rejected), **rule)
    share = (
        len(chosen) / (len(chosen) + len(rejected)) if rule.get("tie", "share") == "share" else 0
    )
    shares = {"best-of": share, "rank": 1 / (1 + len(rejected))}
    assert equal == (pytest.approx(shares.get(str(rule["rule"]), 0.0)), True)


def test_a_rule_of_a_subset_is_for_it_and_for_what_begins_with_its_name() -> None:
    own = {"subsets": {"b/x": {"rule": "pair", "tie": 0.5}}}
    items = [Judgement(name, (1.0,), (1.0,)) for name in ("a/0", "b/x/1", "b/x/y/2", "b/3")]
    assert judge(suite(**own), items).credit.tolist() == [0.0, 0.5, 0.5, 0.0]


# --- styles --------------------------------------------------------------------------------------


def test_cells_of_styles_by_hand() -> None:
    rule = {"rule": "styles", "styles": ("plain", "fancy")}
    # Plain chosen 1, fancy chosen 3; plain rejected 0, fancy rejected 2.
    outcomes = judge(suite(**rule), [Judgement("a/0", (1.0, 3.0), (0.0, 2.0))])
    assert outcomes.credit.tolist() == [3 / 4]
    assert {name: cells.tolist() for name, cells in outcomes.cells.items()} == {
        "above": [0.0],  # plain chosen against fancy rejected
        "diagonal": [1.0],
        "below": [1.0],
    }


# --- ties ----------------------------------------------------------------------------------------


def tied(*, ref: tuple[float, float], right: list[float], wrong: float) -> list[Judgement]:
    return [
        Judgement("Ties/ref:1", (ref[0],), (ref[1],)),
        Judgement("Ties/tied:1", tuple(right), (wrong,)),
    ]


def test_ties_by_hand() -> None:
    # G of ref 2, of tied 4 - 3 = 1; D 1: both right, G > D no, min > D no, tanh(1 / 1 - 1) = 0.
    items = tied(ref=(2.0, 0.0), right=[4.0, 5.0], wrong=3.0)
    assert value(items, rule="ties") == pytest.approx(0.6)
    # G of tied 3, D 1: everything, and tanh(2 / 1 - 1) of the last hundredth.
    items = tied(ref=(2.0, 0.0), right=[6.0, 7.0], wrong=3.0)
    assert value(items, rule="ties") == pytest.approx(1.0 + 0.01 * math.tanh(1.0))
    # Equal right answers: x / 0 counts 1.
    assert value(tied(ref=(2.0, 0.0), right=[6.0, 6.0], wrong=3.0), rule="ties") == 1.01


def test_of_all_rewards_equal_ties_are_zero() -> None:
    assert value(tied(ref=(1.0, 1.0), right=[1.0, 1.0], wrong=1.0), rule="ties") == 0.0


@given(st.lists(st.tuples(*[st.floats(-9, 9)] * 5), min_size=1, max_size=6), st.randoms())
def test_ties_are_the_same_in_any_order_and_within_their_limits(
    rows: list[tuple[float, ...]], random: object
) -> None:
    items = []
    for number, (a, b, c, d, e) in enumerate(rows):
        items.append(Judgement(f"Ties/ref:{number}", (a,), (b,)))
        items.append(Judgement(f"Ties/tied:{number}", (c, d), (e,)))
    there = value(items, rule="ties")
    random.shuffle(items)  # type: ignore[attr-defined]
    assert value(items, rule="ties") == pytest.approx(there, abs=1e-12)
    assert -0.01 <= there <= 1.01


def test_an_id_that_says_no_kind_of_ties_is_told() -> None:
    with pytest.raises(ResultError, match='"12" says neither ref:N nor tied:N'):
        judge(suite(rule="ties"), [Judgement("Ties/12", (1.0,), (0.0,))])


def test_the_interval_of_ties_is_that_of_a_bootstrap_over_pairs() -> None:
    random = np.random.default_rng(0)
    items, clusters = [], []
    for number in range(120):
        shift = random.normal()
        scores = random.normal(shift, 1.0, 6).tolist()
        items.append(Judgement(f"Ties/ref:{number}", (scores[0] + 1.0,), (scores[1],)))
        items.append(
            Judgement(f"Ties/tied:{number}", (scores[2] + 1.5, scores[3] + 1.5), (scores[4],))
        )
        clusters += [number, number]
    columns = Judgements.of(items).in_clusters(clusters)
    found = recompute(suite(rule="ties"), ["Ties"] * len(items), columns).averages["pooled"]
    (whole,) = judge(suite(rule="ties"), columns).wholes
    draws = []
    for _ in range(400):
        drawn = random.integers(0, 120, 120)
        rows = np.concatenate([2 * drawn, 2 * drawn + 1])
        ratios = whole.above[rows].sum(axis=0) / whole.below[rows].sum(axis=0)
        draws.append(whole.combine(ratios)[0])
    assert found.low is not None and found.high is not None
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * np.std(draws), rel=0.15)


# --- steps ---------------------------------------------------------------------------------------

STEPS = [
    Judgement("a/0", ((0.9, 0.2, 0.9),), (), faulty=(1,)),  # the first wrong step is found
    Judgement("a/1", ((0.9, 0.9),), (), faulty=(0,)),  # none is found
    Judgement("a/2", ((0.9, 0.8),), (), faulty=()),  # rightly none
    Judgement("a/3", ((0.6, 0.5),), (), faulty=()),  # rightly none: the threshold is right
]


def test_the_first_error_by_hand() -> None:
    # 1 of 2 faulty and 2 of 2 correct solutions: 2 * 1/2 * 1 / (3/2).
    assert value(STEPS, rule="first-error") == pytest.approx(2 / 3)
    # Nothing is above 1: every first step is judged wrong, which is right once.
    assert value(STEPS, rule="first-error", threshold=1.0) == 0.0


@pytest.mark.slow
@pytest.mark.parametrize(("a", "b"), [(0.6, 0.9), (0.2, 0.95), (0.9, 0.97)])
def test_the_interval_of_f1_covers_the_truth_about_95_percent_of_the_time(
    a: float, b: float
) -> None:
    generator = np.random.default_rng(0)
    is_faulty = np.arange(200) < 120
    below = np.stack([is_faulty, ~is_faulty], axis=1).astype(float)
    every, held = np.ones(200, dtype=bool), 0
    for _ in range(1000):
        right = generator.random(200) < np.where(is_faulty, a, b)
        whole = Whole(
            indices=np.arange(200),
            above=below * right[:, None],
            below=below,
            combine=_harmonic,
            hits=right,
            ties=np.zeros(200, dtype=bool),
        )
        strata = np.zeros(200, dtype=np.int64)
        found = value_interval(sample_of(whole.values(every), strata, weights=[1.0]))
        assert found.mean == pytest.approx(whole.number(every))
        held += found.interval.low <= 2 * a * b / (a + b) <= found.interval.high
    assert 930 <= held <= 975  # 950 with a standard error of 7


def test_steps_by_hand() -> None:
    # Right steps judged right 7 of 7, wrong ones judged wrong 1 of 2.
    # F1: 14 / (14 + 1) of right steps, 2 / (2 + 1) of wrong ones.
    assert value(STEPS, rule="steps") == pytest.approx((14 / 15 + 2 / 3) / 2)


def test_solutions_in_steps_come_back_from_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.with_suffix(".jsonl").write_text("".join(map(judgement_line, STEPS)))
    assert [item.faulty for item in read_judgements(path)] == [(1,), (0,), (), ()]


@pytest.mark.parametrize(
    ("rule", "gives"),
    [("first-error", "rewards"), ("steps", "preferences"), ("ties", "preferences")],
)
def test_a_rule_refuses_answers_that_it_cannot_use_before_they_are_asked_for(
    rule: str, gives: str
) -> None:
    with pytest.raises(ScorerError, match="take a"):
        check_answers(suite(rule=rule), gives)
