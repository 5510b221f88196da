"""Subsets, sections and averages, against hand arithmetic and published figures."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from rmbench.accuracy.aggregate import Accuracy, Summary, section_weights, summarize, weighted_mean
from rmbench.accuracy.credit import Outcome
from rmbench.accuracy.intervals import weighted_interval
from rmbench.errors import SuiteError
from rmbench.suite.catalogue import load_suite
from rmbench.suite.definition import Average, Columns, Credit, Section, Source, Suite
from rmbench.wording import percent

WON, LOST, TIED = Outcome(1.0, False), Outcome(0.0, False), Outcome(0.0, True)

# RewardBench's comparisons per subset, as its data card gives them.
COUNTS = {
    "alpacaeval-easy": 100,
    "alpacaeval-length": 95,
    "alpacaeval-hard": 95,
    "mt-bench-easy": 28,
    "mt-bench-med": 40,
    "mt-bench-hard": 37,
    "llmbar-natural": 100,
    "llmbar-adver-neighbor": 134,
    "llmbar-adver-GPTInst": 92,
    "llmbar-adver-GPTOut": 47,
    "llmbar-adver-manual": 46,
    "refusals-dangerous": 100,
    "refusals-offensive": 100,
    "xstest-should-refuse": 154,
    "xstest-should-respond": 250,
    "donotanswer": 136,
    "math-prm": 447,
    "hep-cpp": 164,
    "hep-go": 164,
    "hep-java": 164,
    "hep-js": 164,
    "hep-python": 164,
    "hep-rust": 164,
}
HEP = [name for name in COUNTS if name.startswith("hep-")]

# allenai/reward-bench, pull request 215: ShikaiChen/LDL-Reward-Gemma-2-27B-v0.1.
LDL_ACCURACIES = {
    "alpacaeval-easy": 0.99,
    "alpacaeval-hard": 0.9473684210526315,
    "alpacaeval-length": 0.9368421052631579,
    "donotanswer": 0.8161764705882353,
    "hep-cpp": 0.9817073170731707,
    "hep-go": 0.9817073170731707,
    "hep-java": 0.9939024390243902,
    "hep-js": 0.9939024390243902,
    "hep-python": 0.975609756097561,
    "hep-rust": 0.9573170731707317,
    "llmbar-adver-GPTInst": 0.9565217391304348,
    "llmbar-adver-GPTOut": 0.8297872340425532,
    "llmbar-adver-manual": 0.8478260869565217,
    "llmbar-adver-neighbor": 0.9104477611940298,
    "llmbar-natural": 0.94,
    "math-prm": 1.0,
    "mt-bench-easy": 1.0,
    "mt-bench-hard": 0.8648648648648649,
    "mt-bench-med": 0.975,
    "refusals-dangerous": 0.97,
    "refusals-offensive": 0.99,
    "xstest-should-refuse": 0.948051948051948,
    "xstest-should-respond": 0.964,
}
LDL_SECTIONS = {
    "Chat": 0.9636871508379888,
    "Chat Hard": 0.9078947368421053,
    "Safety": 0.9378378378378378,
    "Reasoning": 0.9903455284552846,
}


def small_suite(*sections: Section, averages: Sequence[Average] = ()) -> Suite:
    return Suite(
        name="small",
        title="Small",
        version=1,
        source=Source(path="small.jsonl"),
        columns=(Columns(chosen="chosen", rejected="rejected"),),
        credit=Credit(),
        sections=sections,
        averages=tuple(averages) or (Average(name="pooled"),),
        headline="pooled",
        folder=Path(),
    )


SMALL = small_suite(
    Section(name="S", subsets=("a", "b"), weights={"a": 3.0, "b": 1.0}),
    Section(name="T", subsets=("b",)),
    averages=(Average(name="pooled"), Average(name="both", sections=("S", "T"))),
)


def of_wins(wins: dict[str, int]) -> Summary:
    """Return RewardBench's numbers for so many wins per subset, the others lost."""
    subsets, outcomes = [], []
    for name, count in COUNTS.items():
        subsets += [name] * count
        outcomes += [WON] * wins[name] + [LOST] * (count - wins[name])
    return summarize(load_suite("rewardbench"), subsets, outcomes, partial=False)


def spread(total: int, names: Sequence[str]) -> dict[str, int]:
    """Return wins for the subsets that add up to ``total``, filling one subset after another."""
    wins = {}
    for name in names:
        wins[name] = min(total, COUNTS[name])
        total -= wins[name]
    assert total == 0
    return wins


def test_five_comparisons_worked_by_hand() -> None:
    outcomes = [WON, WON, TIED, LOST, WON]
    summary = summarize(SMALL, ["a", "b", "b", "a", "a"], outcomes, partial=False)
    # a: won, lost, won = 2/3. b: won, tied (which earns nothing) = 1/2.
    # S = (3 * 2/3 + 1 * 1/2) / 4 = 5/8. T = 1/2. Pooled = 3/5. Both = (5/8 + 1/2) / 2 = 9/16.
    accuracies = {
        name: (item.accuracy, item.n, item.wins, item.ties)
        for group in (summary.subsets, summary.sections, summary.averages)
        for name, item in group.items()
    }
    assert accuracies == {
        "a": (pytest.approx(2 / 3), 3, 2, 0),
        "b": (pytest.approx(1 / 2), 2, 1, 1),
        "S": (pytest.approx(5 / 8), 5, 3, 1),
        "T": (pytest.approx(1 / 2), 2, 1, 1),
        "pooled": (pytest.approx(3 / 5), 5, 3, 1),
        "both": (pytest.approx(9 / 16), 5, 3, 1),
    }


def test_names_stand_in_the_order_of_the_suite_and_of_the_data() -> None:
    summary = summarize(SMALL, ["b", "a", "b"], [WON, WON, LOST], partial=False)
    assert list(summary.subsets) == ["b", "a"]
    assert list(summary.sections) == ["S", "T"]
    assert list(summary.averages) == ["pooled", "both"]


def test_a_subset_without_a_weight_weighs_its_count() -> None:
    suite = small_suite(Section(name="S", subsets=("a", "b"), weights={"a": 4.0}))
    assert section_weights(suite, {"a": 10, "b": 6}) == {"S": {"a": 4.0, "b": 6.0}}
    # 4 * 1 and 6 * 1/2, of 10.
    outcomes = [WON] * 10 + [WON, LOST] * 3
    summary = summarize(suite, ["a"] * 10 + ["b"] * 6, outcomes, partial=False)
    assert summary.sections["S"].accuracy == pytest.approx(7 / 10)


def test_a_share_of_the_credit_counts_as_neither_a_win_nor_a_loss() -> None:
    third = Outcome(1 / 3, True)
    summary = summarize(small_suite(), ["a"] * 3, [WON, third, LOST], partial=False)
    pooled = summary.averages["pooled"]
    assert pooled.accuracy == pytest.approx(4 / 9)
    assert (pooled.wins, pooled.ties) == (1, 1)


def test_a_tie_that_earns_everything_is_still_no_win() -> None:
    summary = summarize(small_suite(), ["a"] * 2, [Outcome(1.0, True), WON], partial=False)
    assert summary.averages["pooled"] == Accuracy(
        accuracy=1.0, low=pytest.approx(0.3424, abs=1e-4), high=1.0, n=2, wins=1, ties=1
    )


def test_one_subset_has_wilsons_interval_as_scipy_computes_it() -> None:
    summary = summarize(small_suite(), ["a"] * 20, [WON] * 13 + [LOST] * 7, partial=False)
    expected = binomtest(13, 20).proportion_ci(0.95, method="wilson")
    for item in (summary.subsets["a"], summary.averages["pooled"]):
        assert (item.low, item.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_sections_and_averages_have_the_interval_of_their_weights() -> None:
    outcomes = [WON] * 7 + [LOST] * 3 + [WON] * 2 + [LOST] * 2
    summary = summarize(SMALL, ["a"] * 10 + ["b"] * 4, outcomes, partial=False)
    section, both = summary.sections["S"], summary.averages["both"]
    assert (section.low, section.high) == pytest.approx(
        weighted_interval([0.7, 0.5], [10, 4], [3, 1]), abs=1e-12
    )
    # Half of S's weights of 3/4 and 1/4, and half of T, which is b alone.
    expected = weighted_interval([0.7, 0.5], [10, 4], [3 / 8, 5 / 8])
    assert (both.low, both.high) == pytest.approx(expected, abs=1e-12)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.booleans()), min_size=1))
def test_pooled_is_the_plain_share_of_wins(rows: list[tuple[str, bool]]) -> None:
    outcomes = [WON if won else LOST for _, won in rows]
    summary = summarize(small_suite(), [name for name, _ in rows], outcomes, partial=False)
    pooled = summary.averages["pooled"]
    assert pooled.accuracy == pytest.approx(sum(won for _, won in rows) / len(rows))
    assert pooled.low is not None and pooled.high is not None
    assert 0.0 <= pooled.low <= pooled.accuracy <= pooled.high <= 1.0


# --- what is not there ---------------------------------------------------------------------------


def test_a_dropped_comparison_counts_nowhere() -> None:
    summary = summarize(SMALL, ["a", "a", "b"], [WON, None, LOST], partial=False)
    assert summary.subsets["a"].n == 1
    assert summary.averages["pooled"].n == 2


@pytest.mark.parametrize("partial", [False, True])
def test_a_subset_that_was_dropped_whole_is_an_error(partial: bool) -> None:
    with pytest.raises(SuiteError) as error:
        summarize(SMALL, ["a", "b", "b"], [WON, None, None], partial=partial)
    assert str(error.value) == (
        'suite "small": every comparison of subset "b" was dropped; raise --max-length,'
        " or use --on-overflow truncate-left"
    )


def test_a_run_in_which_everything_was_dropped_is_an_error() -> None:
    with pytest.raises(SuiteError, match='every comparison of subset "a" was dropped'):
        summarize(small_suite(), ["a"], [None], partial=False)


def test_a_whole_run_without_a_subset_is_an_error() -> None:
    with pytest.raises(SuiteError) as error:
        summarize(SMALL, ["b"], [WON], partial=False)
    assert str(error.value) == 'suite "small": section S lacks subset "a"'


def test_a_partial_run_leaves_out_what_it_cannot_know() -> None:
    summary = summarize(SMALL, ["b", "b"], [WON, LOST], partial=True)
    assert list(summary.subsets) == ["b"]
    assert list(summary.sections) == ["T"]
    assert list(summary.averages) == ["pooled"]


# --- published figures ---------------------------------------------------------------------------


def test_the_section_formula_gives_four_published_sections() -> None:
    weights = section_weights(load_suite("rewardbench"), COUNTS)
    sections = {name: weighted_mean(LDL_ACCURACIES, parts) for name, parts in weights.items()}
    assert sections == pytest.approx(LDL_SECTIONS, abs=1e-12, rel=0)


def test_whole_numbers_of_wins_give_the_same_four_sections() -> None:
    wins = {name: round(share * COUNTS[name]) for name, share in LDL_ACCURACIES.items()}
    sections = {name: item.accuracy for name, item in of_wins(wins).sections.items()}
    assert sections == pytest.approx(LDL_SECTIONS, abs=1e-12, rel=0)


def test_the_wins_of_smoltulu_print_as_its_model_card() -> None:
    suite = load_suite("rewardbench")
    chat, hard, safety, reasoning = (section.subsets for section in suite.sections)
    assert set(reasoning) == {"math-prm", *HEP}
    wins = spread(337, chat) | spread(199, hard) | spread(559, safety)
    wins |= spread(226, ["math-prm"]) | spread(841, HEP)
    summary = of_wins(wins)
    shown = {name: percent(item.accuracy) for name, item in summary.sections.items()}
    assert shown == {"Chat": "94.13", "Chat Hard": "43.64", "Safety": "75.54", "Reasoning": "68.01"}
    # The card's average is the pooled one, 2162 of 2985; the mean of the sections is another.
    pooled = summary.averages["pooled"]
    assert (pooled.wins, pooled.n, percent(pooled.accuracy)) == (2162, 2985, "72.43")
    assert percent(summary.averages["sections"].accuracy) == "70.33"


def test_math_prm_counts_as_much_as_the_six_code_subsets_together() -> None:
    none = dict.fromkeys(COUNTS, 0)
    math_alone = of_wins(none | {"math-prm": 447}).sections["Reasoning"]
    code_alone = of_wins(none | {name: COUNTS[name] for name in HEP}).sections["Reasoning"]
    assert (math_alone.accuracy, code_alone.accuracy) == (0.5, 0.5)


def test_the_figures_above_are_those_of_the_file_of_published_numbers(test_data: Path) -> None:
    published = json.loads((test_data / "rewardbench_published.json").read_text())
    assert published["rows_per_subset"] == COUNTS
    (ldl,) = (item for item in published["models"] if item["model"].startswith("ShikaiChen/LDL"))
    assert ldl["subsets"] == LDL_ACCURACIES
    assert ldl["sections"] == LDL_SECTIONS
