"""Scores of other programs: the counts are the published ones, and nothing odd gets in."""

import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from recorded import changed
from scored import TOY, toy_suite

from rmbench.answers.judgements import Judgement
from rmbench.api import evaluate
from rmbench.cli import main
from rmbench.compare.contrast import compare
from rmbench.errors import DataError, ResultError, SuiteError
from rmbench.importing import import_results
from rmbench.result.record import Result
from rmbench.result.store import read_result, write_result
from rmbench.scorers.registry import load_scorer
from rmbench.suite.catalogue import find_suite, load_suite
from rmbench.suite.definition import Suite
from rmbench.suite.feed import open_feed

# Wins and ties of 447, counted from the same scores by whoever collected them.
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
SMALL = TOY.model_copy(update={"source": TOY.source.model_copy(update={"comparisons": 4})})


def lines(tmp_path: Path, rows: Sequence[Any], name: str = "scores.jsonl") -> Path:
    path = tmp_path / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def row(identity: Any, chosen: Any = 1.0, rejected: Any = 0.0, **more: Any) -> dict[str, Any]:
    return {"id": identity, "chosen": chosen, "rejected": rejected, **more}


WHOLE = [row("a/0"), row("b/0", 0.0), row("c/0", 0.0, 1.0), row("d/0")]


def imported(tmp_path: Path, rows: Sequence[Any], suite: Suite = SMALL) -> Result:
    (result,) = import_results(lines(tmp_path, rows), suite, model="m")
    return result


def counts(result: Result, name: str = "pooled") -> tuple[int | None, int | None, int | None]:
    item = result.averages[name]
    return item.n, item.wins, item.ties


# --- lines of scores -----------------------------------------------------------------------------


def test_a_whole_suite_has_all_its_numbers(tmp_path: Path) -> None:
    result = imported(tmp_path, WHOLE)
    assert counts(result) == (4, 2, 1)
    assert result.partial is None
    # X: one of two; Y: c lost with weight 3, d won with weight 1.
    assert result.sections["X"].accuracy == pytest.approx(0.5)
    assert result.sections["Y"].accuracy == pytest.approx(0.25)
    assert result.signature is not None and "|m@" in result.signature
    assert read_result(write_result(result, tmp_path / "out")).to_dict() == result.to_dict()


def test_some_comparisons_make_a_partial_result(tmp_path: Path) -> None:
    result = imported(tmp_path, WHOLE[:1])
    assert result.partial == 1
    assert list(result.averages) == ["pooled"]
    assert result.sections == {}


@pytest.mark.parametrize(
    "first",
    [
        row(0, subset="a"),
        row("0", subset="a"),
        row("a/0", subset="a"),
        {"uid": "a/0", "id": 7, "subset": "a", "chosen": 1.0, "rejected": 0.0},
        row("a/0", [1.0], [0.0]),
        row("a/0", [[1.0]], [[0.0]]),
        {"id": 0, "subset": "a", "scores_chosen": 1.0, "scores_rejected": 0.0, "results": 1},
    ],
)
def test_a_comparison_may_be_named_and_scored_in_several_ways(
    tmp_path: Path, first: dict[str, Any]
) -> None:
    result = imported(tmp_path, [first, *WHOLE[1:]])
    assert result.rewards[0] == Judgement("a/0", (1.0,), (0.0,))
    assert counts(result) == (4, 2, 1)


def test_scores_become_float32_as_rewards_are(tmp_path: Path) -> None:
    # The two doubles differ; their float32 is the same.
    result = imported(tmp_path, [row("a/0", 0.1, 0.10000000149), *WHOLE[1:]])
    assert counts(result) == (4, 1, 2)


def test_several_models_stand_in_one_file_the_chosen_score_first(tmp_path: Path) -> None:
    rows = [{"id": item["id"], "scores": {"x": [1, 0], "y": [0, 1]}} for item in WHOLE]
    path = lines(tmp_path, rows)
    found = {item.model["id"]: counts(item) for item in import_results(path, SMALL)}
    assert found == {"x": (4, 4, 0), "y": (4, 0, 0)}
    (only,) = import_results(path, SMALL, model="y")
    assert only.model["id"] == "y"
    with pytest.raises(ResultError, match='no scores of "z"; known: x, y'):
        import_results(path, SMALL, model="z")


def test_best_of_lists_are_read_for_a_suite_of_that_rule(tmp_path: Path) -> None:
    suite = toy_suite(rule="best-of")
    suite = suite.model_copy(update={"source": suite.source.model_copy(update={"comparisons": 4})})
    rows = [{"id": item["id"], "scores": {"x": [1, 1, 0]}} for item in WHOLE]
    (result,) = import_results(lines(tmp_path, rows), suite)
    assert counts(result) == (4, 0, 4)
    assert result.averages["pooled"].accuracy == 0.5


def test_a_gzipped_file_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "scores.jsonl.gz"
    path.write_bytes(gzip.compress("".join(json.dumps(item) + "\n" for item in WHOLE).encode()))
    (result,) = import_results(path, SMALL, model="m")
    assert counts(result) == (4, 2, 1)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([row("a/0", float("nan"))], 'line 1: "chosen" has the score nan; every score must be'),
        ([row("a/0", None)], 'line 1: "chosen" has the score None'),
        ([row("a/0"), row("b/0", 1.0, "2")], "line 2: \"rejected\" has the score '2'"),
        ([row("a/0", True)], "has the score True"),
        ([row("a/0", 1e39)], "has the score 1e+39"),
        ([row("a/0", [])], 'line 1: "chosen" is empty; each side needs a score'),
        ([row("a/0", [1.0, 2.0])], '"a/0": 2 chosen and 1 rejected where toy has 1 and 1'),
        ([row("a/0"), row("a/0")], 'line 2: "a/0" is in an earlier line too'),
        ([row("z/0")], 'line 1: subset "z" is not in suite toy; known: a, b, c, d'),
        ([row("0")], 'line 1: "0" names no subset; add "subset"'),
        ([row(1.5)], "line 1: an id must be a text or a whole number"),
        ([row("a/0", subset=3)], 'line 1: "subset" must be a text'),
        ([{"id": "a/0"}], "line 1: no scores; it needs chosen and rejected"),
        ([{"id": "a/0", "scores": {"m": [1]}}], 'line 1: scores of "m" must be a list'),
        ([3], "line 1: must be an object with scores"),
        ([row(f"a/{i}") for i in range(5)], "5 comparisons where toy has 4"),
        ([{"chosen": 1.0, "rejected": 0.0}], "line 1: no id; with --data PATH"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(
    tmp_path: Path, rows: Sequence[Any], message: str
) -> None:
    with pytest.raises(DataError) as caught:
        import_results(lines(tmp_path, rows), SMALL, model="m")
    assert message in str(caught.value)


def test_a_model_that_is_missing_from_a_later_line_is_named(tmp_path: Path) -> None:
    rows = [{"id": "a/0", "scores": {"x": [1, 0]}}, {"id": "b/0", "scores": {"y": [1, 0]}}]
    with pytest.raises(DataError, match='line 2: no scores of "x", as line 1 has'):
        import_results(lines(tmp_path, rows), SMALL)


def test_a_model_that_only_a_later_line_has_is_named(tmp_path: Path) -> None:
    rows: list[Any] = [{"id": f"{name}/0", "scores": {"x": [1, 0]}} for name in "ab"]
    rows[1]["scores"]["y"] = [1, 0]
    with pytest.raises(DataError, match='line 2: scores of "y", which line 1 lacks'):
        import_results(lines(tmp_path, rows), SMALL)


def test_a_model_needs_a_name(tmp_path: Path) -> None:
    rows = [{"id": "a/0", "scores": {" ": [1, 0]}}, {"id": "b/0", "scores": {" ": [1, 0]}}]
    with pytest.raises(ResultError, match="a model without a name in scores; name it"):
        import_results(lines(tmp_path, rows), SMALL)


def test_a_page_of_text_for_a_score_is_cut(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        import_results(
            lines(tmp_path, [{"id": "a/0", "chosen": "x" * 5000, "rejected": 0}]), SMALL, model="m"
        )
    assert len(str(caught.value)) < 400


def test_imported_scores_below_chance_say_so(tmp_path: Path) -> None:
    suite = load_suite("mini")
    rows = [row(name, 1, 2) for name in open_feed(suite).contents.ids]
    (result,) = import_results(lines(tmp_path, rows), suite, model="m")
    assert result.audit["below_chance"] is True
    # A margin of 1 is millions of float32's steps: nothing flips.
    assert result.audit["rounding"] == 0.0


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "empty"), (b"{", "line 1: not JSON"), (b"\xff\n", "line 1: not JSON"), (b"\n", "empty")],
)
def test_a_file_that_is_no_jsonl_is_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "scores.jsonl"
    path.write_bytes(content)
    with pytest.raises((DataError, ResultError), match=message):
        import_results(path, SMALL, model="m")


@pytest.mark.parametrize("name", ["scores.jsonl", "scores.json"])
def test_a_key_that_stands_twice_is_one_line(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text('{"id": "a/0", "chosen": 1, "rejected": 0, "chosen": 2}\n')
    with pytest.raises((DataError, ResultError)) as caught:
        import_results(path, SMALL, model="m")
    assert 'the key "chosen" appears twice in one object; remove one of them' in str(caught.value)


def test_an_import_has_calibration_and_with_the_rows_length_bias(tmp_path: Path) -> None:
    assert imported(tmp_path, WHOLE).analyses is not None
    assert imported(tmp_path, WHOLE).analyses.length is None  # type: ignore[union-attr]
    mini = load_suite("mini")
    own = evaluate(mini, load_scorer("length"))
    rows = [row(i.id, i.chosen[0], i.rejected[0]) for i in reversed(own.rewards)]
    (result,) = import_results(lines(tmp_path, rows), mini, model="m")
    assert result.analyses is not None and own.analyses is not None
    assert result.analyses.length == own.analyses.length


def test_a_broken_gzip_file_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "scores.jsonl.gz"
    content = "".join(json.dumps(row(f"a/{i}")) + "\n" for i in range(1000))
    path.write_bytes(gzip.compress(content.encode())[:-20])
    with pytest.raises(DataError, match="cannot be read"):
        import_results(path, SMALL, model="m")


def test_a_file_that_names_no_model_needs_one(tmp_path: Path) -> None:
    with pytest.raises(ResultError, match="does not name its model; say which with --model"):
        import_results(lines(tmp_path, WHOLE), SMALL)


def test_without_rows_a_suite_of_unknown_size_cannot_be_told_whole(tmp_path: Path) -> None:
    with pytest.raises(
        ResultError, match=r"cannot tell whether all of toy is here, .* \(4 comparisons\); give"
    ):
        imported(tmp_path, WHOLE, TOY)


# --- joined with the suite's own rows ------------------------------------------------------------


@pytest.fixture(scope="module")
def shorter() -> Result:
    return evaluate("mini", load_scorer("shorter"))


def rows_of(result: Result, **names: str) -> list[dict[str, Any]]:
    keys = {"id": "id", "chosen": "chosen", "rejected": "rejected"} | names
    return [
        {keys["id"]: item.id, keys["chosen"]: item.chosen[0], keys["rejected"]: item.rejected[0]}
        for item in result.rewards
    ]


def test_imported_scores_are_the_same_result_in_whatever_order(
    tmp_path: Path, shorter: Result
) -> None:
    mini = load_suite("mini")
    path = lines(tmp_path, rows_of(shorter)[::-1])
    (result,) = import_results(path, mini, model="m")
    assert result.averages == shorter.averages
    assert result.sections == shorter.sections
    assert list(result.rewards) == list(shorter.rewards)
    assert result.suite["sha256"] == shorter.suite["sha256"]
    assert {item.mark(0.05) for item in compare(shorter, result, mini).verdicts} == {""}


def test_an_id_that_the_suite_does_not_have_is_named(tmp_path: Path, shorter: Result) -> None:
    rows = rows_of(shorter)
    rows[3]["id"] = "math/nope"
    with pytest.raises(DataError, match='line 4: "math/nope" is no comparison of mini; its ids'):
        import_results(lines(tmp_path, rows), load_suite("mini"), model="m")


def without_ids(result: Result) -> list[dict[str, Any]]:
    """Return rows as RewardBench's outputs hold them, but without id and subset."""
    mini = load_suite("mini")
    data = (mini.folder / "mini.jsonl").read_text(encoding="utf-8").splitlines()
    return [
        {
            "prompt": text["prompt"],
            "scores_chosen": [item.chosen[0]],
            "scores_rejected": [item.rejected[0]],
            "text_chosen": f"<user>{text['prompt']}<assistant>{text['chosen']}</s>",
            "text_rejected": f"<user>{text['prompt']}<assistant>{text['rejected']}</s>",
        }
        for item, text in zip(result.rewards, map(json.loads, data), strict=True)
    ]


def test_lines_without_ids_are_joined_in_order_once_their_texts_agree(
    tmp_path: Path, shorter: Result
) -> None:
    rows = without_ids(shorter)
    mini = load_suite("mini")
    (result,) = import_results(lines(tmp_path, rows), mini, model="m")
    assert list(result.rewards) == list(shorter.rewards)
    rows[5], rows[6] = rows[6], rows[5]
    with pytest.raises(DataError, match=r"line 6: the text is not that of .* not in the order"):
        import_results(lines(tmp_path, rows), mini, model="m")
    with pytest.raises(DataError, match="239 lines without ids for 240 comparisons"):
        import_results(lines(tmp_path, rows[:-1]), mini, model="m")


# --- RewardBench's result JSON -------------------------------------------------------------------

SUMMARY = {
    "accuracy": 0.5,
    "num_prompts": 4,
    "model": "org/m",
    "ref_model": None,
    "tokenizer": "org/m",
    "chat_template": "tulu",
    "extra_results": {"a": 1.0, "b": 0.0, "c": 0.0, "d": 1.0},
}


def summary_file(tmp_path: Path, changes: Mapping[str, Any]) -> Path:
    path = tmp_path / "m.json"
    path.write_text(json.dumps(SUMMARY | dict(changes)), encoding="utf-8")
    return path


def test_accuracies_alone_become_a_published_result(tmp_path: Path) -> None:
    (result,) = import_results(summary_file(tmp_path, {}), SMALL)
    assert result.source == "published"
    assert result.citation == "RewardBench's m.json, template tulu"
    assert result.model["id"] == "org/m"
    assert {name: item.accuracy for name, item in result.averages.items()} == {"pooled": 0.5}
    # The weights of Y stand in the suite, X's would need counts.
    assert {name: item.accuracy for name, item in result.sections.items()} == {"Y": 0.25}
    assert result.subsets["a"].accuracy == 1.0
    assert read_result(write_result(result, tmp_path / "out")) == changed(result)


def test_with_the_suites_rows_all_sections_follow(tmp_path: Path, shorter: Result) -> None:
    subsets = {name: item.accuracy for name, item in shorter.subsets.items()}
    pooled = shorter.averages["pooled"].accuracy
    content = {"accuracy": pooled, "num_prompts": 240, "extra_results": subsets}
    (result,) = import_results(summary_file(tmp_path, content), load_suite("mini"), model="other")
    assert result.model["id"] == "other"
    for name, item in shorter.sections.items():
        assert result.sections[name].accuracy == pytest.approx(item.accuracy)
    mean = shorter.averages["sections"].accuracy
    assert result.averages["sections"].accuracy == pytest.approx(mean)
    lacking = content | {"extra_results": {name: subsets[name] for name in list(subsets)[1:]}}
    (part,) = import_results(summary_file(tmp_path, lacking), load_suite("mini"), model="other")
    assert "sections" not in part.averages
    wrong = content | {"accuracy": pooled - 0.1}
    with pytest.raises(ResultError, match="accuracy is not the mean of extra_results"):
        import_results(summary_file(tmp_path, wrong), load_suite("mini"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_prompts": 5}, "accuracies on 5 comparisons where toy has 4"),
        ({"accuracy": 50.0}, "accuracy is 50.0; it must be in [0, 1]"),
        ({"extra_results": {"z": 1.0}}, 'subset "z" is not in suite toy'),
        ({"extra_results": {"a": None}}, "extra_results.a is None"),
        ({"extra_results": [1]}, "extra_results must be an object"),
        ({"model": None}, "does not name its model"),
    ],
)
def test_a_summary_that_does_not_fit_is_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ResultError) as caught:
        import_results(summary_file(tmp_path, changes), SMALL)
    assert message in str(caught.value)


def test_a_summary_without_subsets_has_its_accuracy_alone(tmp_path: Path) -> None:
    (result,) = import_results(summary_file(tmp_path, {"extra_results": None}), SMALL)
    assert list(result.averages) == ["pooled"]
    assert result.sections == result.subsets == {}


# --- the command ---------------------------------------------------------------------------------


def test_import_writes_results_and_prints_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shorter: Result
) -> None:
    monkeypatch.chdir(tmp_path)
    path = lines(tmp_path, rows_of(shorter))
    arguments = ["import", str(path), "--suite", "mini", "--model", "org/m"]
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert result.stderr == (
        "written: results/mini/org--m.json\n"
        "of the ids only the form was checked, not against mini; give --data PATH\n"
    )
    assert result.stdout.startswith("mini (")
    assert Path("results/mini/org--m.jsonl").is_file()


def test_import_does_not_replace_a_measured_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shorter: Result
) -> None:
    monkeypatch.chdir(tmp_path)
    path = lines(tmp_path, rows_of(shorter))
    measured = write_result(shorter, Path("results")).read_bytes()
    arguments = ["import", str(path), "--suite", "mini", "--model", "shorter"]
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 2
    assert "a measured result of shorter on mini stands there" in result.stderr
    assert Path("results/mini/shorter.json").read_bytes() == measured


def test_import_of_a_summary_prints_it_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    content = {"num_prompts": 2985, "extra_results": None}
    arguments = ["import", str(summary_file(tmp_path, content)), "--suite", "rewardbench"]
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert "org/m †" in result.stdout


# --- real data -----------------------------------------------------------------------------------


@pytest.mark.parametrize("with_rows", [False, True])
def test_nine_real_models_win_and_tie_as_often_as_their_scores_say(
    test_data: Path, with_rows: bool
) -> None:
    path = test_data / "rm_scores_rewardbench_math_prm.jsonl.gz"
    data = str(test_data / "rewardbench_v1.jsonl.gz") if with_rows else None
    results = import_results(path, load_suite("rewardbench"), data=data)
    found = {
        r.model["id"]: (r.subsets["math-prm"].wins, r.subsets["math-prm"].ties) for r in results
    }
    assert found == MATH_PRM
    assert {result.partial for result in results} == {447}


def test_scores_by_column_are_what_they_are_line_by_line(tmp_path: Path) -> None:
    columns = {
        "model": "m",
        "id": [item["id"] for item in WHOLE],
        "scores_chosen": [item["chosen"] for item in WHOLE],
        "scores_rejected": [item["rejected"] for item in WHOLE],
        "results": [1, 0, 0, 1],
    }
    path = tmp_path / "scores.json"
    for content in (columns, WHOLE):
        path.write_text(json.dumps(content, indent=4))
        (result,) = import_results(path, SMALL, model="m")
        assert counts(result) == counts(imported(tmp_path, WHOLE))


def test_columns_of_scores_that_are_not_equally_long_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "scores.json"
    path.write_text(json.dumps({"id": ["a/0"], "scores_chosen": [1, 2], "scores_rejected": [0]}))
    with pytest.raises(DataError, match="the columns are not equally long"):
        import_results(path, SMALL, model="m")


# --- RewardBench 2's columns, and JudgeBench's outputs -------------------------------------------


def columns_of(test_data: Path, model: str) -> dict[str, Any]:
    """Return made-up scores in the layout in which RewardBench 2's are published."""
    with gzip.open(test_data / "golden_rewardbench2_scores.jsonl.gz", "rt") as stream:
        rows = [json.loads(line) for line in stream]
    return {
        "model": f"org/{model}",
        "model_type": "Seq. Classifier",
        "id": [row["id"] for row in rows],
        "subset": [row["subset"] for row in rows],
        "num_correct": [row["num_correct"] for row in rows],
        "scores": [row["scores"][model] for row in rows],
    }


def from_columns(folder: Path, content: dict[str, Any]) -> Result:
    path = folder / "scores.json"
    path.write_text(json.dumps(content))
    suite = load_suite("rewardbench-2")
    source = suite.source.model_copy(update={"comparisons": len(content["id"])})
    (result,) = import_results(path, suite.model_copy(update={"source": source}))
    return result


def test_rewardbench_2_is_read_from_columns_with_the_number_of_its_authors(
    tmp_path: Path, test_data: Path
) -> None:
    result = from_columns(tmp_path, columns_of(test_data, "strong"))
    assert result.model["id"] == "org/strong"
    assert f"{result.averages['mean'].accuracy:.5f}" == "0.94509"


def test_ids_that_repeat_are_counted_on_where_one_reading_fits(
    tmp_path: Path, test_data: Path
) -> None:
    content = columns_of(test_data, "coarse")
    whole = from_columns(tmp_path, content)
    places = [i for i, name in enumerate(content["subset"]) if name == "Factuality"]
    for number, place in enumerate(places[:10]):  # as in most published files
        content["id"][place] = str(30 + number)
    assert from_columns(tmp_path, content).averages == whole.averages
    content["id"] = ["7"] * len(content["id"])
    with pytest.raises(DataError, match="--data PATH"):
        from_columns(tmp_path, content)


@pytest.mark.parametrize("right", [0, 4, True, "1"])
def test_a_number_of_right_answers_that_cannot_be_is_told(
    right: Any, tmp_path: Path, test_data: Path
) -> None:
    content = columns_of(test_data, "weak")
    content["num_correct"][0] = right
    with pytest.raises(DataError, match=r"entry 1: num_correct must be from 1 to 3"):
        from_columns(tmp_path, content)


def test_judgebench_outputs_of_reward_models_are_read(tmp_path: Path) -> None:
    path = tmp_path / "jb.jsonl"
    lines = []
    for number, label in enumerate(["A>B", "B>A", "A>B"]):
        scores = [[1.5, 0.5], [1.5, 0.5], [0.5, 0.5]][number]
        game = {"judgment": {"judge_model": "org/rm", "scores": scores}, "decision": "A>B"}
        line = {"pair_id": f"p{number}", "source": "mmlu-pro-law", "label": label}
        lines.append(line | {"response_model": "gpt-4o-2024-05-13", "judgments": [game]})
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    (result,) = import_results(path, load_suite("judgebench"))
    assert (result.model["id"], result.partial) == ("org/rm", 3)
    found = result.sections["GPT-4o Knowledge"]
    assert (found.n, found.wins, found.ties) == (3, 1, 1)
    path.write_text(json.dumps(lines[0] | {"judgments": []}))
    with pytest.raises(DataError, match="no scores and no decisions"):
        import_results(path, load_suite("judgebench"))


def test_a_folder_is_imported_and_a_broken_file_stops_no_other(
    tmp_path: Path, test_data: Path
) -> None:
    folder = tmp_path / "eval-set-scores" / "org"
    folder.mkdir(parents=True)
    for model in ("strong", "weak"):
        (folder / f"{model}.json").write_text(json.dumps(columns_of(test_data, model)))
    (folder / "broken.json").write_text("[")
    text = find_suite("rewardbench-2").read_text().replace("= 1865", "= 393")
    (tmp_path / "rewardbench-2.toml").write_text(text)
    command = ["import", str(folder.parent), "--suite", str(tmp_path / "rewardbench-2.toml")]
    done = CliRunner().invoke(main, [*command, "--output", str(tmp_path / "out")])
    assert done.exit_code == 2
    assert "broken.json" in done.stderr
    assert "2 results of 3 files" in done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines() if line.startswith("org/")] == [
        "org/strong",
        "org/weak",
    ]


def judgebench_rows(count: int, model: str, **more: Any) -> list[dict[str, Any]]:
    """Return made-up rows in JudgeBench's columns."""
    sources = ["mmlu-pro-law", "livebench-reasoning", "livebench-math", "livecodebench"]
    return [
        {
            "pair_id": f"{model}{number}",
            "original_id": number,
            "source": sources[number % 4],
            "question": f"question {number}",
            "response_model": model,
            "response_A": "short",
            "response_B": "a longer answer",
            "label": ("A>B", "B>A")[number % 5 == 0],
        }
        | more
        for number in range(count)
    ]


def test_a_half_of_judgebench_is_read_as_this_half(tmp_path: Path) -> None:
    rows = judgebench_rows(350, "gpt-4o-2024-05-13")
    name = "dataset=judgebench,response_model=gpt-4o-2024-05-13.jsonl"
    (tmp_path / "data").mkdir()
    file = tmp_path / "data" / name
    write_lines(file, rows)
    (tmp_path / "notes.jsonl").write_text('{"x": 1}\n')  # as outputs lie beside the data
    for place in (file, tmp_path):
        feed = open_feed(load_suite("judgebench"), data=str(place))
        assert (feed.suite.name, len(feed.contents.ids)) == ("judgebench-gpt", 350)
    rows += judgebench_rows(270, "claude-3-5-sonnet-20240620")
    write_lines(file, rows)
    assert open_feed(load_suite("judgebench"), data=str(tmp_path)).suite.name == "judgebench"
    write_lines(file, rows[1:350])
    with pytest.raises(SuiteError, match="349 comparisons where"):
        open_feed(load_suite("judgebench"), data=str(tmp_path))


@pytest.mark.parametrize(
    ("decisions", "earned"),
    [
        (("A>B", "B>A"), 1.0),  # both games, the second in the other order
        (("A>B", None), 1.0),
        (("A>B", "A=B"), 1.0),
        (("A>B", "A>B"), 0.0),  # the first shown won twice: no more for than against
        (("B>A", "A>B"), 0.0),
        ((None, None), 0.0),
    ],
)
def test_a_judges_games_count_as_judgebenchs_authors_count_them(
    decisions: tuple[str | None, ...], earned: float, tmp_path: Path
) -> None:
    games = [{"judgment": {"judge_model": "o1"}, "decision": word} for word in decisions]
    rows = judgebench_rows(350, "gpt-4o-2024-05-13", judgments=games, label="A>B")
    file = tmp_path / "outputs.jsonl"
    write_lines(file, rows)
    (result,) = import_results(file, load_suite("judgebench"))
    assert (result.suite["name"], result.partial) == ("judgebench-gpt", None)
    assert result.averages["pooled"].accuracy == earned
    assert result.sections["Knowledge"].n == 88


def test_rm_benchs_own_output_is_read(tmp_path: Path) -> None:
    rows = [
        {
            "id": 1,  # which repeats across domains
            "domain": domain,
            "prompt": "p",
            "chosen": ["a", "b", "c"],
            "rejected": ["d", "e", "f"],
            "score_chosen": [3.0, 2.0, 1.0],
            "score_rejected": [0.0, 1.5, 2.5],
        }
        for domain in ("chat", "code", "math", "safety-refuse", "safety-response")
    ]
    file = tmp_path / "scores.json"
    file.write_text(json.dumps(rows))
    text = find_suite("rm-bench").read_text().replace("= 1327", "= 5")
    (tmp_path / "rm-bench.toml").write_text(text)
    (tmp_path / "total_dataset.json").write_text(json.dumps(rows))
    (tmp_path / "chat_filtered.json").write_text(json.dumps(rows[:1]))
    suite = load_suite(str(tmp_path / "rm-bench.toml"))
    for data in (None, str(tmp_path)):
        (result,) = import_results(file, suite, model="m", data=data)
        # Chosen above rejected, by style: 111, 110, 100.
        found = {name: item.accuracy for name, item in result.averages.items()}
        assert found == pytest.approx(
            {"hard": 2 / 3, "normal": 2 / 3, "easy": 2 / 3, "overall": 2 / 3}
        )


def write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
