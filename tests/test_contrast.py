"""Two results: p values and intervals are scipy's and statsmodels' on the same counts."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded import changed
from scipy import stats as scipy_stats
from scored import COUNTS, TOY, published, toy_ids, toy_margins, toy_result, toy_suite
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.inter_rater import cohens_kappa
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportions_ztest

from rmbench.api import evaluate
from rmbench.cli import main
from rmbench.compare.comparable import suite_of, with_clusters
from rmbench.compare.contrast import Contrast, compare
from rmbench.compare.flips import find_flips, find_texts
from rmbench.compare.paired import Strata, unpaired_difference
from rmbench.compare.verdict import Verdict
from rmbench.errors import ResultError, SuiteError
from rmbench.importing import import_results
from rmbench.result.find import find_result
from rmbench.result.record import Result
from rmbench.result.store import write_result
from rmbench.scorers.registry import load_scorer
from rmbench.show.contrast import compare_table, verdict_sentence
from rmbench.show.flips import flips_text
from rmbench.suite.catalogue import load_suite
from rmbench.suite.definition import Average, Columns


def pick(contrast: Contrast, name: str) -> Verdict:
    return next(item for item in contrast.verdicts if item.name == name)


def discordant(old: Result, new: Result, subsets: str) -> tuple[int, int]:
    """Return comparisons only the new one, only the old one wins, counted from the rewards."""
    pairs = [
        (a.chosen[0] > a.rejected[0], b.chosen[0] > b.rejected[0])  # type: ignore[operator]
        for a, b in zip(old.rewards, new.rewards, strict=True)
        if a.id[0] in subsets
    ]
    return sum(b > a for a, b in pairs), sum(a > b for a, b in pairs)


OLD = toy_result(toy_margins(1), model="old")
NEW = toy_result(toy_margins(2, shift=-0.3))


# --- paired --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "subsets"), [("a", "a"), ("d", "d"), ("X", "ab"), ("pooled", "abcd")]
)
def test_where_every_comparison_weighs_the_same_p_is_mcnemars_exact_one(
    name: str, subsets: str
) -> None:
    verdict = pick(compare(OLD, NEW, TOY), name)
    won, lost = discordant(OLD, NEW, subsets)
    assert (verdict.gained, verdict.lost) == (won, lost)
    assert verdict.difference is not None
    exact = statsmodels_mcnemar([[0, won], [lost, 0]], exact=True).pvalue
    assert verdict.difference.p_value == pytest.approx(exact, rel=1e-9)
    one_sided = scipy_stats.binomtest(won, won + lost, alternative="less").pvalue
    assert verdict.difference.p_drop == pytest.approx(one_sided, rel=1e-9)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from([(1.0, 1.0), (1.0, -1.0), (-1.0, 1.0)]), min_size=1, max_size=60))
def test_the_one_sided_p_is_the_binomial_tail_for_any_counts(
    pairs: list[tuple[float, float]],
) -> None:
    suite = TOY.model_copy(
        update={"sections": (), "averages": TOY.averages[:1], "headline": "pooled"}
    )
    ids = [f"a/{i}" for i in range(len(pairs))]
    old = toy_result([a for a, _ in pairs], suite=suite, ids=ids)
    new = toy_result([b for _, b in pairs], suite=suite, ids=ids)
    won, lost = discordant(old, new, "a")
    found = pick(compare(old, new, suite), "pooled").difference
    assert found is not None
    tail = scipy_stats.binom.cdf(won, won + lost, 0.5) if won + lost else 1.0
    assert found.p_drop == pytest.approx(tail, rel=1e-9)


def test_a_weighted_sections_p_is_that_of_all_sign_flips() -> None:
    # Few discordant comparisons, so that every one of the 2^k sign patterns can be listed.
    old = toy_result([1.0] * 155, model="old")
    margins = [1.0] * 155
    lost = [65, 66, 67, 95, 96, 97, 98]  # three of c, four of d
    for place in lost:
        margins[place] = -1.0
    verdict = pick(compare(old, toy_result(margins), TOY), "Y")
    # Y weighs c 3/4 over 30 comparisons, d 1/4 over 60.
    steps = np.array([0.75 / 30] * 3 + [0.25 / 60] * 4)
    patterns = np.array(np.meshgrid(*[[-1, 1]] * 7)).reshape(7, -1)
    sums = steps @ patterns
    exact = np.mean(np.abs(sums) >= steps.sum() - 1e-12)
    assert verdict.difference is not None
    assert verdict.difference.estimate == pytest.approx(-steps.sum())
    # 10,000 draws around 2/128: four standard errors.
    assert verdict.difference.p_value == pytest.approx(exact, abs=4 * np.sqrt(exact / 10_000))
    assert verdict.difference.p_drop == pytest.approx(exact / 2, abs=4 * np.sqrt(exact / 20_000))


def test_a_difference_is_that_of_the_records_accuracies() -> None:
    contrast = compare(OLD, NEW, TOY)
    for level, names in (
        ("subset", COUNTS),
        ("section", "XY"),
        ("average", ("pooled", "sections")),
    ):
        for name in names:
            verdict = pick(contrast, name)
            old, new = (getattr(r, f"{level}s")[name].accuracy for r in (OLD, NEW))
            assert verdict.old == pytest.approx(old)
            assert verdict.new == pytest.approx(new)
            assert verdict.difference is not None
            assert verdict.difference.estimate == pytest.approx(new - old)


def test_the_headline_stands_alone_and_the_others_are_adjusted_in_two_families() -> None:
    contrast = compare(OLD, NEW, TOY)
    families = {
        "headline": [pick(contrast, "sections")],
        "section": [pick(contrast, name) for name in ("X", "Y", "pooled")],
        "subset": contrast.level("subset"),
    }
    for name, found in families.items():
        raw = [item.difference.p_value for item in found if item.difference is not None]
        holms = multipletests(raw, method="holm")[1].tolist()
        assert len(raw) == {"headline": 1, "section": 3, "subset": 4}[name]
        for item, p, most in zip(found, raw, holms, strict=True):
            # What the maximum of the tests costs is at most what Holm's method does.
            assert item.adjusted is not None and p <= item.adjusted <= most + 0.02
    assert pick(contrast, "sections").adjusted == pick(contrast, "sections").difference.p_value  # type: ignore[union-attr]


def test_ties_that_earn_half_are_tested_by_sign_flips() -> None:
    suite = toy_suite(tie=0.5)
    old = toy_result([1.0] * 155, suite=suite)
    new = toy_result([0.0] * 3 + [1.0] * 152, suite=suite)
    verdict = pick(compare(old, new, suite), "a")
    assert verdict.difference is not None
    assert verdict.difference.estimate == pytest.approx(-1.5 / 40)
    # Three halves lost: 2 of the 8 sign patterns are as far from 0.
    assert verdict.difference.p_value == pytest.approx(0.25, abs=0.02)
    assert verdict.lost == 3


def test_a_result_against_itself_is_no_different_anywhere() -> None:
    contrast = compare(OLD, OLD, TOY)
    assert {item.mark(0.05) for item in contrast.verdicts} == {""}
    assert {item.difference.p_value for item in contrast.verdicts if item.difference} == {1.0}
    assert contrast.changed == ()


def test_exchanging_the_results_mirrors_the_marks() -> None:
    worse = toy_result(toy_margins(1, shift=-1.5))
    marks = [item.mark(0.05) for item in compare(OLD, worse, TOY).verdicts]
    mirrored = [item.mark(0.05) for item in compare(worse, OLD, TOY).verdicts]
    assert "-" in marks
    assert [{"-": "+", "+": "-"}.get(mark, mark) for mark in marks] == mirrored


def test_what_one_of_the_two_dropped_is_left_out_of_both() -> None:
    margins: list[float | None] = list(toy_margins(2))
    margins[0] = margins[41] = None
    contrast = compare(OLD, toy_result(margins), TOY)
    assert pick(contrast, "a").n == 39
    assert pick(contrast, "pooled").n == 153
    assert any(
        note == "left out of both: 2 comparisons that one of the two dropped"
        for note in contrast.notes
    )


def test_a_section_without_common_comparisons_is_marked_as_not_comparable() -> None:
    old: list[float | None] = list(toy_margins(1))
    new: list[float | None] = list(toy_margins(2))
    for i in range(40):
        if i < 20:
            old[i] = None
        else:
            new[i] = None
    contrast = compare(toy_result(old), toy_result(new), TOY)
    assert {n: pick(contrast, n).mark(0.05) for n in ("a", "X", "sections")} == {
        "a": "x",
        "X": "x",
        "sections": "x",
    }
    assert pick(contrast, "Y").difference is not None


# --- unpaired ------------------------------------------------------------------------------------


def test_rewards_of_another_run_than_the_records_are_refused() -> None:
    mixed = changed(OLD, rewards=NEW.rewards)
    wins = [item.subsets["a"].wins for item in (NEW, OLD)]
    with pytest.raises(ResultError) as caught:
        compare(mixed, NEW, TOY)
    assert str(caught.value) == (
        f"{OLD.model['id']} on toy: its rewards give {wins[0]} of 40 won in a, its record says"
        f" {wins[1]} of 40; the two files are of different runs: put back the right one, or run it"
        " again"
    )


def test_without_rewards_the_test_is_unpaired_and_says_so() -> None:
    bare = changed(OLD, rewards=())
    contrast = compare(bare, NEW, TOY)
    assert not contrast.paired
    assert contrast.notes[-1] == (
        f"{bare.model['id']}: no rewards, so the test is unpaired, which is much weaker; put the"
        " .jsonl back beside its record, or run it again"
    )
    found = pick(contrast, "a").difference
    assert found is not None
    old, new = (result.subsets["a"].accuracy * 40 for result in (OLD, NEW))
    _, p = proportions_ztest([new, old], [40, 40])
    assert found.p_value == pytest.approx(p)


def test_a_published_section_is_taken_as_one_proportion_at_its_effective_size() -> None:
    contrast = compare(published({"X": 0.9, "Y": 0.9, "pooled": 0.9}), NEW, TOY)
    found = pick(contrast, "Y")
    # Kish: (3 + 1)^2 / (3^2 / 30 + 1^2 / 60) = 16 / (19 / 60) = 960 / 19
    sizes = [960 / 19]
    expected = unpaired_difference(
        Strata([NEW.sections["Y"].accuracy], sizes), Strata([0.9], sizes), weights=[1.0]
    )
    assert found.difference == expected
    assert pick(contrast, "a").mark(0.05) == "x"


def test_the_mean_of_published_sections_is_compared_where_the_card_lacks_it() -> None:
    verdict = pick(compare(published({"X": 0.9, "Y": 0.7}), NEW, TOY), "sections")
    assert verdict.old == pytest.approx(0.8)
    assert verdict.difference is not None


def test_two_published_results_cannot_be_tested() -> None:
    contrast = compare(published({"X": 0.9}), published({"X": 0.7}), TOY)
    assert [item.mark(0.05) for item in contrast.verdicts] == ["x"]


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "other"}, "suite name other and toy"),
        ({"version": 2}, "suite version 2 and 1; run the older one again"),
        ({"sha256": "1" * 64}, "the texts differ (sha256 1111111 and 0000000)"),
    ],
)
def test_results_on_different_data_are_not_comparable(
    change: dict[str, object], message: str
) -> None:
    other = changed(OLD, suite={**OLD.suite, **change})
    with pytest.raises(ResultError) as caught:
        compare(other, NEW, TOY)
    assert "old and new are not comparable" in str(caught.value)
    assert message in str(caught.value)


def test_a_part_is_not_compared_with_the_whole() -> None:
    part = toy_result([1.0] * 20, ids=toy_ids()[:20], partial=20)
    with pytest.raises(ResultError, match="scored all comparisons and 20 comparisons"):
        compare(OLD, part, TOY)


def test_parts_of_other_comparisons_are_told_apart_by_id() -> None:
    ids = toy_ids({"a": 21})
    one = toy_result([1.0] * 20, ids=ids[:20], partial=20)
    two = toy_result([1.0] * 20, ids=ids[1:], partial=20)
    with pytest.raises(ResultError, match='2 comparisons only in one of them, such as "a/0"'):
        compare(one, two, TOY)


def test_texts_that_are_not_recorded_are_noted() -> None:
    imported = changed(OLD, suite={**OLD.suite, "sha256": None})
    assert any("not recorded" in note for note in compare(imported, NEW, TOY).notes)


def test_a_result_of_another_suite_version_is_refused() -> None:
    with pytest.raises(ResultError, match="version 1 of the suite, and this is version 2"):
        suite_of(OLD, TOY.model_copy(update={"version": 2}))
    with pytest.raises(SuiteError, match="give your own with --suite FILE"):
        suite_of(OLD)


# --- what is shown -------------------------------------------------------------------------------


def test_settings_that_differ_stand_above_the_table() -> None:
    other = changed(NEW, settings={"dtype": "bfloat16"}, environment={"torch": "9"})
    table = compare_table(compare(OLD, other, TOY), alpha=0.05)
    assert table.above[1:] == [
        "differs: dtype: A float32, B bfloat16",
        "differs: torch: A not set, B 9",
    ]


def test_what_a_side_cannot_have_is_one_line() -> None:
    rule = changed(OLD, model={"id": "length", "kind": "builtin"}, settings={"seed": 0})
    model = changed(NEW, settings={"dtype": "float32", "template_sha256": "ab" * 32, "seed": 1})
    assert compare_table(compare(rule, model, TOY), alpha=0.05).above[1:] == [
        "A (length) is a rule, to which these do not apply: dtype, template sha256",
        "differs: seed: A 0, B 1",
    ]
    bare = changed(NEW, settings={})
    assert compare_table(compare(model, bare, TOY), alpha=0.05).above[1:] == [
        "B (new) was recorded without dtype, seed, template sha256"
    ]
    other = changed(model, settings={**model.settings, "template_sha256": "cd" * 32})
    assert compare_table(compare(model, other, TOY), alpha=0.05).above[1:] == [
        "differs: template sha256: A abababa, B cdcdcdc"
    ]


def test_agreement_is_that_of_statsmodels() -> None:
    contrast = compare(OLD, NEW, TOY)
    sides = [[item.chosen[0] > item.rejected[0] for item in r.rewards] for r in (OLD, NEW)]  # type: ignore[operator]
    counts = np.array(
        [
            [sum((a, b) == pair for a, b in zip(*sides, strict=True)) for pair in row]
            for row in (((True, True), (True, False)), ((False, True), (False, False)))
        ]
    )
    found = contrast.agreement
    assert found is not None and found.kappa is not None
    assert found.kappa == pytest.approx(cohens_kappa(counts).kappa)
    assert found.same == pytest.approx(np.trace(counts) / counts.sum())
    assert found.standard_error == pytest.approx(cohens_kappa(counts).std_kappa)
    note = f"kappa of right and wrong) {found.kappa:.2f} ± {found.standard_error:.2f}"
    assert any(line.endswith(note) for line in compare_table(contrast, alpha=0.05).notes)


def test_results_in_another_order_agree_by_id() -> None:
    backwards = changed(OLD, rewards=list(reversed(OLD.rewards)))
    found = compare(OLD, backwards, TOY).agreement
    assert found is not None
    assert (found.same, found.kappa) == (1.0, 1.0)


def test_without_rewards_nothing_is_said_of_agreement() -> None:
    assert compare(published({"X": 0.9}), NEW, TOY).agreement is None


@pytest.mark.parametrize("width", [30, 60, 100])
def test_flips_stay_within_the_width(width: int) -> None:
    mini = load_suite("mini")
    contrast = compare(*(evaluate(mini, load_scorer(m)) for m in ("length", "shorter")), mini)
    flips = find_flips(contrast)[:5]
    texts = find_texts(contrast, [flip.id for flip in flips])
    text = flips_text(flips, 240, texts, width=width)
    first, *paragraphs, _ = text.split("\n\n")
    assert first == "240 comparisons changed sides; 5 of them:"
    assert [paragraph.splitlines()[0] for paragraph in paragraphs] == [flip.id for flip in flips]
    assert max(len(line) for p in paragraphs for line in p.splitlines()[2:]) <= width
    for paragraph, flip in zip(paragraphs, flips, strict=True):
        flat = " ".join(paragraph.split())
        assert " ".join(texts[flip.id].prompt[-1].content.split())[:10] in flat


def test_flips_without_texts_say_where_to_get_them() -> None:
    flips = find_flips(compare(OLD, NEW, TOY))
    text = flips_text(flips, len(flips), {}, width=100)
    assert text.startswith(f"{len(flips)} comparisons changed sides\n")
    assert text.endswith("for the texts, say where the rows are with --data")


def test_flips_are_those_whose_credit_changed_by_size_of_the_change() -> None:
    old = toy_result([1.0] * 154 + [-2.0])
    # Ten times the scale: the change is measured in units of each model's own spread.
    new = toy_result([-10.0, -30.0] + [10.0] * 153, model="scaled")
    flips = find_flips(compare(old, new, TOY))
    assert [flip.id for flip in flips] == ["a/1", "d/59", "a/0"]
    scale_old = np.sqrt((154 + 4) / 155)
    scale_new = np.sqrt((154 * 100 + 900) / 155)
    assert flips[0].change == pytest.approx(-30 / scale_new - 1 / scale_old)
    assert (flips[0].old_margin, flips[0].new_margin) == (1.0, -30.0)
    assert (flips[1].old_credit, flips[1].new_credit) == (0.0, 1.0)


def test_flips_need_rewards() -> None:
    contrast = compare(published({"X": 0.9}), NEW, TOY)
    with pytest.raises(ResultError, match="flips need the rewards of both"):
        find_flips(contrast)


def test_texts_come_from_the_suites_own_rows_and_no_others(tmp_path: Path) -> None:
    mini = load_suite("mini")
    result = evaluate(mini, load_scorer("length"))
    contrast = compare(result, result, mini)
    found = find_texts(contrast, ["math/001"])
    assert list(found) == ["math/001"]
    changed = tmp_path / "other.jsonl"
    lines = (mini.folder / "mini.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    changed.write_text("".join(lines).replace("egg", "EGG"), encoding="utf-8")
    with pytest.raises(ResultError, match="these are not the texts that were scored"):
        find_texts(contrast, ["math/001"], data=str(changed))


# --- the command ---------------------------------------------------------------------------------


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for model in ("length", "shorter"):
        write_result(evaluate("mini", load_scorer(model)), tmp_path / "results")
    return tmp_path / "results"


NO_AGREEMENT = {"same": "", "kappa": "", "standard_error": ""}


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    return result.exit_code, result.stdout + result.stderr


@pytest.mark.usefixtures("results")
def test_compare_takes_names_and_lists_flips_with_their_texts() -> None:
    code, text = run("compare", "mini/length", "mini/shorter", "--flips", "2")
    assert code == 0
    assert text.startswith("mini (")
    assert "240 comparisons changed sides; 2 of them:" in text
    assert "prompt" in text


@pytest.mark.usefixtures("results")
def test_csv_and_json_carry_the_same_numbers_in_full() -> None:
    command = ["compare", "mini/length", "mini/shorter", "--format"]
    rows = list(csv.DictReader(io.StringIO(run(*command, "csv")[1])))
    record = json.loads(run(*command, "json")[1])
    slices = record["slices"]
    assert len(slices) == 12  # six subsets, four sections, two averages
    *rows, whole = rows
    for row, item in zip(rows, slices, strict=True):
        assert {key: str(value) for key, value in item.items()} | NO_AGREEMENT == row
    filled = {key: value for key, value in whole.items() if value}
    agreed = {key: str(value) for key, value in record["agreement"].items()}
    assert filled == {"level": "suite", "name": "mini"} | agreed


@pytest.mark.usefixtures("results")
@pytest.mark.parametrize("fmt", ["markdown", "csv", "json"])
def test_compare_prints_in_every_format(fmt: str) -> None:
    code, text = run("compare", "mini/length", "results/mini/shorter.json", "--format", fmt)
    assert code == 0
    assert "Chat Hard" in text


def test_compare_refuses_in_one_line_what_is_not_there(results: Path) -> None:
    assert run("compare", "mini/lenght", "mini/shorter") == (
        2,
        'rmbench: mini/lenght: no such file or result below results; did you mean "mini/length"?\n',
    )
    code, text = run("compare", "nothing.json", "mini/shorter")
    assert (code, text.count("\n")) == (2, 1)


def test_a_part_and_a_template_are_not_what_a_bare_name_means(results: Path) -> None:
    part = evaluate("mini", load_scorer("length"), limit=10)
    write_result(part, results)
    assert find_result("mini/length").partial is None
    assert find_result("mini/length.partial-10").partial == 10


def test_rewards_of_another_run_are_refused(results: Path) -> None:
    file = results / "mini" / "length.jsonl"
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(ResultError, match="rewards of 239 comparisons where the record has 240"):
        find_result("mini/length")


# --- real data -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def baselines(test_data: Path) -> dict[str, Result]:
    data = str(test_data / "rewardbench_v1.jsonl.gz")
    return {
        model: evaluate("rewardbench", load_scorer(model), data=data)
        for model in ("length", "shorter", "random")
    }


@pytest.mark.parametrize(
    "pair", [("random", "length"), ("length", "shorter"), ("shorter", "random")]
)
def test_on_rewardbench_p_values_equal_those_of_statsmodels(
    baselines: dict[str, Result], pair: tuple[str, str]
) -> None:
    suite = load_suite("rewardbench")
    # McNemar's test knows no clusters.
    old, new = (
        changed(item, rewards=[judged._replace(cluster=None) for judged in item.rewards])
        for item in (baselines[name] for name in pair)
    )
    contrast = compare(old, new, suite)
    wins = [
        {item.id: item.chosen[0] > item.rejected[0] for item in result.rewards}  # type: ignore[operator]
        for result in (old, new)
    ]
    for section in suite.sections[:3]:  # Reasoning is weighted
        ids = [i for i in wins[0] if i.rpartition("/")[0] in section.subsets]
        won = sum(wins[1][i] and not wins[0][i] for i in ids)
        lost = sum(wins[0][i] and not wins[1][i] for i in ids)
        found = pick(contrast, section.name)
        assert found.difference is not None
        expected = statsmodels_mcnemar([[0, won], [lost, 0]], exact=True).pvalue
        assert found.difference.p_value == pytest.approx(expected, rel=1e-9)
        assert (found.gained, found.lost) == (won, lost)


def test_rewardbench_is_1913_problems_and_its_tests_count_them(
    baselines: dict[str, Result],
) -> None:
    old, new = baselines["random"], baselines["length"]
    assert new.suite["clusters"] == 1913
    found = pick(compare(old, new, load_suite("rewardbench")), "Reasoning").difference
    # Six languages of one problem: the judge of length is right or wrong in all of them.
    assert found is not None and found.design > 1.5
    reasoning = new.sections["Reasoning"]
    assert reasoning.design_effect is not None and reasoning.design_effect > 2.0


def test_on_rewardbench_a_judge_of_length_differs_from_chance_where_known(
    baselines: dict[str, Result],
) -> None:
    contrast = compare(baselines["random"], baselines["length"], load_suite("rewardbench"))
    marks = {item.name: item.mark(0.05) for item in contrast.verdicts}
    # alpacaeval-easy and -hard are won by the longer answer, math-prm by the shorter one.
    assert marks["alpacaeval-easy"] == marks["alpacaeval-hard"] == marks["Chat"] == "+"
    assert marks["math-prm"] == marks["Chat Hard"] == marks["Reasoning"] == "-"


def test_nine_real_models_compare_as_statsmodels_says(test_data: Path) -> None:
    path = test_data / "rm_scores_rewardbench_math_prm.jsonl.gz"
    suite = load_suite("rewardbench")
    models = import_results(path, suite)
    assert len(models) == 9
    for old in models:
        for new in models:
            found = pick(compare(old, new, suite), "math-prm")
            won, lost = discordant(old, new, "m")
            assert found.difference is not None
            expected = statsmodels_mcnemar([[0, won], [lost, 0]], exact=True).pvalue
            assert found.difference.p_value == pytest.approx(expected, rel=1e-9)
            wins = new.subsets["math-prm"].wins
            assert wins is not None and old.subsets["math-prm"].wins is not None
            assert won - lost == wins - old.subsets["math-prm"].wins


# --- the verdict ---------------------------------------------------------------------------------


def test_the_verdict_says_no_more_than_the_tests() -> None:
    same = changed(OLD, model={"id": "same"})
    sentence = verdict_sentence(compare(OLD, same, TOY), alpha=0.05)
    assert sentence == "No significant change overall (+0.00 points, two-sided p 1.0000)"


SIDES = {"chosen": "chosen", "rejected": "rejected"}


def test_clusters_that_old_records_lack_come_from_rows_at_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = '{"prompt": "p%d", "chosen": "longer", "rejected": "no", "subset": "a", "id": "%d"}\n'
    Path("toy.jsonl").write_text("".join(rows % (i // 2, i) for i in range(6)))
    suite = toy_suite().model_copy(
        update={
            "columns": (Columns(subset=("subset",), id=("id",), prompt="prompt", **SIDES),),
            "sections": (),
            "averages": (Average(name="pooled"),),
            "headline": "pooled",
        }
    )
    new = evaluate(suite, load_scorer("length"))
    flat = new.rewards
    assert [
        item.cluster == other.cluster for item, other in zip(flat[::2], flat[1::2], strict=True)
    ] == [True] * 3
    bare = {key: value for key, value in new.suite.items() if key != "clusters"}
    old = changed(new, suite=bare, rewards=[item._replace(cluster=None) for item in flat])
    assert with_clusters([old], suite)[0].rewards == flat
    assert with_clusters([old], suite)[0].suite["clusters"] == 3
    # Rows that are not those that were scored say nothing of them.
    other = changed(old, suite=bare | {"sha256": "1" * 64})
    assert with_clusters([other, new], suite) == [other, new]
    Path("toy.jsonl").unlink()
    assert with_clusters([old], suite) == [old]


def test_the_verdict_names_the_sections_that_changed() -> None:
    # 65 comparisons of section X are lost, all of section Y stay as they were.
    won = toy_result([1.0] * 155, model="old")
    lost = toy_result([-1.0] * 65 + [1.0] * 90)
    sentence = verdict_sentence(compare(won, lost, TOY), alpha=0.05)
    assert sentence == (
        "B is worse overall (-50.00 points, two-sided p <0.0001); X -100.00 (adjusted p <0.0001)"
    )
    back = verdict_sentence(compare(lost, won, TOY), alpha=0.05)
    assert back.startswith("B is better overall (+50.00 points, two-sided p <0.0001); X +100.00 ")


def test_a_section_of_a_change_that_cancels_out_is_named() -> None:
    # The credit that X loses, 13 of 65, Y wins back in its own weights.
    old = toy_result([1.0] * 40 + [1.0] * 25 + [-1.0] * 30 + [-1.0] * 60)
    new = toy_result([-1.0] * 40 + [1.0] * 25 + [1.0] * 30 + [-1.0] * 60)
    sentence = verdict_sentence(compare(old, new, TOY), alpha=0.05)
    assert sentence.endswith("X -61.54 (adjusted p <0.0001), Y +75.00 (adjusted p <0.0001)")


def test_subsets_stand_in_the_table_on_request() -> None:
    contrast = compare(OLD, NEW, TOY)
    names = [row[0] for row in compare_table(contrast, alpha=0.05, subsets=False).rows]
    assert names == ["sections", "pooled", "X", "Y"]
    assert (
        compare_table(contrast, alpha=0.05, subsets=False).notes[0] == "4 more subsets: --subsets"
    )
    assert [row[0] for row in compare_table(contrast, alpha=0.05).rows][4:] == list("abcd")
