"""Ranks, order, layout and escaping of the leaderboard; the block in a file."""

import csv
import io
import json
import os
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import CliRunner
from recorded import analyses, changed
from scored import TOY, published, toy_margins, toy_result

from rmbench.accuracy.aggregate import Accuracy
from rmbench.api import evaluate
from rmbench.cli import main
from rmbench.errors import ResultError
from rmbench.files import BEGIN, END, read_text, replace_block, write_text
from rmbench.result.record import Result
from rmbench.result.store import read_published, write_result
from rmbench.scorers.registry import load_scorer
from rmbench.show.board import Board, build_boards
from rmbench.show.exports import board_as_csv, boards_as_json
from rmbench.show.formats import format_table
from rmbench.show.leaderboard import leaderboard_table, transposed_table
from rmbench.suite.catalogue import load_suite


def with_intervals(numbers: dict[str, tuple[float, float, float]]) -> list[Result]:
    """Return one result per model whose every number is the one given, with this interval."""
    results = []
    for model, (low, accuracy, high) in numbers.items():
        item = Accuracy(accuracy=accuracy, low=low, high=high, n=100, wins=0, ties=0)
        groups = {
            "averages": {"pooled": item, "sections": item},
            "sections": {"X": item, "Y": item},
        }
        results.append(toy_result(toy_margins(1), model=model, **groups))
    return results


def board(*results: Result, sort: str | None = None) -> Board:
    return build_boards(results, [[TOY]], sort=sort)[0]


def ranks(found: Board) -> dict[str, str | None]:
    return {row.model: None if row.rank is None else row.rank.text for row in found.rows}


# --- rank and order ------------------------------------------------------------------------------


def shifted(model: str, shift: float) -> Result:
    """Return a result whose margins are those of seed 1, all moved by the same."""
    return toy_result(toy_margins(1, shift=shift), model=model)


def test_a_rank_is_the_places_that_paired_tests_leave() -> None:
    found = board(shifted("best", 1.0), shifted("twin", 1.01), shifted("worst", -1.0))
    assert ranks(found) == {"best": "1-2", "twin": "1-2", "worst": "3"}


@pytest.mark.parametrize("kind", ["rule", "builtin"])  # as releases before 0.2 called it
def test_baselines_are_apart_and_have_no_rank(kind: str) -> None:
    rule = changed(shifted("length", 3.0), model={"id": "length", "kind": kind})
    found = board(shifted("one", 0.0), rule)
    assert ranks(found) == {"one": "1", "length": None}
    assert any("are baselines" in note for note in found.notes)


def test_a_published_number_has_the_interval_and_rank_that_the_counts_give() -> None:
    numbers = {"X": 0.7, "Y": 0.7, "sections": 0.7}
    found = board(published(numbers), published(numbers, model={"id": "twin"}), shifted("m", 0.0))
    row = next(row for row in found.rows if row.model == "twin")
    item = row.find(found.ranked_by)
    assert item is not None and item.low is not None and item.high is not None
    assert 0.6 < item.low < 0.7 < item.high < 0.8
    assert set(ranks(found).values()) == {"1-3"}


def test_without_any_counts_there_is_no_rank_and_a_word_why() -> None:
    found = board(
        published({"X": 0.9, "Y": 0.7}), published({"X": 0.2, "Y": 0.1}, model={"id": "b"})
    )
    assert set(ranks(found).values()) == {None}
    assert any("no rank: none of these" in str(note) for note in leaderboard_table(found).notes)


def test_csv_and_json_have_both_ends_of_a_rank() -> None:
    found = board(shifted("best", 1.0), shifted("twin", 1.01), shifted("worst", -1.0))
    rows = list(csv.DictReader(io.StringIO(board_as_csv(found))))
    assert [(row["rank"], row["rank to"]) for row in rows] == [("1", "2"), ("1", "2"), ("3", "3")]
    (record,) = json.loads(boards_as_json([found]))
    assert [row["rank"] for row in record["rows"]] == [[1, 2], [1, 2], [3, 3]]


def test_rows_are_sorted_by_the_number_and_not_by_its_text() -> None:
    results = with_intervals({"a": (0.05, 0.0999, 0.2), "b": (0.9, 1.0, 1.0), "c": (0.4, 0.5, 0.6)})
    assert list(ranks(board(*results))) == ["b", "c", "a"]


def test_any_column_sorts_and_ranks() -> None:
    x = published({"X": 0.9, "Y": 0.1})
    y = published({"X": 0.2, "Y": 0.8}, model={"id": "other"})
    rule = changed(shifted("length", 0.0), model={"id": "length", "kind": "builtin"})
    assert ranks(board(x, y, rule, sort="X")) == {"new": "1", "other": "2", "length": None}
    assert ranks(board(x, y, rule, sort="Y")) == {"other": "1", "new": "2", "length": None}
    assert [row.model for row in board(y, x, sort="model").rows] == ["new", "other"]


def test_an_unknown_column_to_sort_by_is_an_error_with_a_remedy() -> None:
    with pytest.raises(ResultError) as caught:
        board(toy_result(toy_margins(1)), sort="sectoins")
    assert str(caught.value) == '--sort "sectoins": no such column; did you mean "sections"?'


def test_a_row_without_the_number_that_ranks_has_no_rank_and_comes_last() -> None:
    found = board(published({"X": 0.99}), toy_result(toy_margins(1), model="measured"))
    assert ranks(found) == {"measured": "1", "new": None}


def test_the_mean_of_published_sections_is_computed_and_said_to_be() -> None:
    found = board(published({"X": 0.9, "Y": 0.7, "pooled": 0.85}))
    number = found.rows[0].find(found.ranked_by)
    assert number is not None and number.accuracy == pytest.approx(0.8)
    assert any("averages over sections that are not published" in note for note in found.notes)


# --- what is left out, marked and told apart -----------------------------------------------------


def test_partial_runs_and_other_versions_are_left_out() -> None:
    whole = toy_result(toy_margins(1), model="whole")
    part = changed(whole, model={"id": "part"}, partial=10)
    old = changed(whole, model={"id": "old"}, suite={**whole.suite, "version": 0})
    found = board(whole, part, old)
    assert list(ranks(found)) == ["whole"]
    assert "left out: 1 result of another suite version" in found.notes
    with pytest.raises(ResultError, match="no results of a whole run"):
        board(part)


def test_published_rows_are_marked_and_cited() -> None:
    table = leaderboard_table(board(published({"X": 0.5}), toy_result(toy_margins(1), model="m")))
    assert [row[0] for row in table.rows] == ["m", "new †"]
    assert "† new: published, a card" in table.notes


def test_analyses_stand_in_json_and_csv() -> None:
    plain = toy_result(toy_margins(1), model="plain")
    known = changed(plain, model={"id": "known"}, analyses=analyses())
    (record,) = json.loads(boards_as_json([board(known, plain)]))
    found = {row["model"]: row["analyses"] for row in record["rows"]}
    expected = known.to_dict()["analyses"]
    del expected["length"]["bins"]
    assert found == {"known": {"toy": expected}, "plain": {}}
    rows = {
        row["model"]: row for row in csv.DictReader(io.StringIO(board_as_csv(board(known, plain))))
    }
    heads = ["chosen longer", "chosen shorter", "odds ratio of longer", "calibration error"]
    assert [rows["known"][head] for head in heads] == ["0.333333", "0.333333", "1.25", "0.1"]
    assert [rows["plain"][head] for head in heads] == [""] * 4


def test_results_on_other_texts_are_pointed_out() -> None:
    one = toy_result(toy_margins(1), model="one")
    two = changed(one, model={"id": "two"}, suite={**one.suite, "sha256": "1" * 64})
    assert "toy: these results are not all on the same texts" in board(one, two).notes


def test_only_settings_that_differ_are_shown() -> None:
    first = toy_result(toy_margins(1), model="a", settings={"dtype": "float32", "template": "none"})
    second = changed(first, model={"id": "b"}, settings={"dtype": "bfloat16", "template": "none"})
    builtin = changed(first, model={"id": "length"}, settings={})
    table = leaderboard_table(board(first, second, builtin))
    assert table.columns[-1] == "settings"
    assert {row[0]: row[-1] for row in table.rows} == {
        "a": "dtype float32",
        "b": "dtype bfloat16",
        "length": "",
    }
    assert "settings" not in leaderboard_table(board(first, builtin)).columns


def test_a_models_own_limit_and_template_are_no_settings_that_differ() -> None:
    own = {"max_length": 512, "on_overflow": "error", "template_sha256": "a"}
    first = toy_result(toy_margins(1), model="a", settings=own)
    second = changed(
        first, model={"id": "b"}, settings={**own, "max_length": 9, "template_sha256": "b"}
    )
    assert "settings" not in leaderboard_table(board(first, second)).columns
    cut = changed(second, settings={**second.settings, "on_overflow": "drop"})
    assert leaderboard_table(board(first, cut)).rows[0][-1]


def test_results_of_one_name_from_two_folders_both_have_a_row() -> None:
    old, new = (
        changed(
            toy_result(toy_margins(seed)),
            model={"id": "my-rm", "revision": f"sha256:{seed}23456789"},
        )
        for seed in (1, 2)
    )
    assert sorted(row.model for row in board(old, new).rows) == ["my-rm@1234567", "my-rm@2234567"]
    assert [row.model for row in board(old, old).rows] == ["my-rm"]


def test_a_rule_that_was_run_twice_is_one_row_unless_its_numbers_differ() -> None:
    rule = {"id": "length", "kind": "rule"}
    old, other = (changed(toy_result(toy_margins(seed)), model=rule) for seed in (1, 2))
    again = changed(old, date="2026-02-03T04:05:06Z")
    assert [row.model for row in board(old, again).rows] == ["length"]
    other = changed(other, date="2026-02-03T04:05:06Z")
    names = [row.model for row in board(old, other).rows]
    assert len(set(names)) == 2 and "length (2026-02-03)" in names


def test_two_ways_of_running_one_model_are_two_rows() -> None:
    plain = toy_result(toy_margins(1), model="m", settings={"template": "tokenizer"})
    bare = changed(plain, settings={"template": "none"})
    assert len(board(plain, bare).rows) == 2


# --- formats -------------------------------------------------------------------------------------


def test_the_best_is_bold_and_the_second_in_italics_by_the_printed_figure() -> None:
    results = with_intervals({"a": (0, 0.70001, 1), "b": (0, 0.70004, 1), "c": (0, 0.6, 1)})
    text = format_table(leaderboard_table(board(*results, published({"X": 0.1}))), "markdown")
    assert text.count("**70.00**") == 8
    assert text.count("*60.00*") == 4
    latex = format_table(leaderboard_table(board(*results)), "latex")
    assert latex.count(r"\textbf{70.00}") == 8
    assert latex.count(r"\textit{60.00}") == 4
    html = format_table(leaderboard_table(board(*results)), "html")
    assert html.count("<strong>70.00</strong>") == 8
    assert html.count("<em>60.00</em>") == 4


def test_intervals_stand_beside_the_numbers_on_request() -> None:
    found = board(*with_intervals({"a": (0.6, 0.7, 0.8)}))
    assert leaderboard_table(found, intervals=True).texts[0][2] == "70.00 (60.0 to 80.0)"
    assert "95 % intervals: rmbench leaderboard --intervals" in leaderboard_table(found).notes


WICKED = (
    "\x1b[2Jx|y <img src=x onerror=alert(1)> **b** [l](http://e) \\input{p} $x_1$ & 5% \u202e\n#"
)


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)


def test_a_wicked_name_does_nothing_in_any_format() -> None:
    table = leaderboard_table(board(toy_result(toy_margins(1), model=WICKED)))
    for fmt in ("table", "markdown", "latex", "html", "csv"):
        text = format_table(table, fmt)
        assert "\x1b" not in text and "\u202e" not in text
    markdown = format_table(table, "markdown").splitlines()
    rows = [line for line in markdown if line.startswith("|")]
    assert len({line.count("|") for line in rows}) == 1
    assert "<img" not in str(markdown) and "[l](" not in str(markdown) and " **b**" not in rows[2]
    tags = Tags()
    tags.feed(format_table(table, "html"))
    assert tags.tags == {"h3", "table", "thead", "tbody", "tr", "th", "td", "p", "small"}
    latex = format_table(table, "latex")
    assert r"\input" not in latex and r"\textbackslash{}input\{p\}" in latex
    assert "$x_1$" not in latex and r"\$x\_1\$ \& 5\%" in latex


def test_a_name_that_looks_like_a_formula_is_text_in_a_spreadsheet() -> None:
    found = board(toy_result(toy_margins(1), model='=HYPERLINK("http://e")'))
    rows = list(csv.reader(io.StringIO(board_as_csv(found))))
    assert rows[1][0] == '\'=HYPERLINK("http://e")'


def test_csv_and_json_carry_the_numbers_of_the_record() -> None:
    result = toy_result(toy_margins(1), model="m")
    found = board(result)
    line = next(csv.DictReader(io.StringIO(board_as_csv(found))))
    assert float(line["Y"]) == result.sections["Y"].accuracy
    assert float(line["sections high"]) == result.averages["sections"].high
    row = json.loads(boards_as_json([found]))[0]["rows"][0]
    assert row["accuracies"]["X"]["low"] == result.sections["X"].low
    assert row["signatures"] == ["toy:1|m"]


# --- the model card's layout ---------------------------------------------------------------------


def test_transposed_the_published_columns_are_the_cards_figures_to_the_last_digit() -> None:
    suites = [load_suite(name) for name in ("rewardbench", "ultrafeedback")]
    found = build_boards(read_published(), [suites])[0]
    table = transposed_table(found)
    assert table.columns[0] == "metric"
    assert [row[0] for row in table.rows] == [
        "RB Chat",
        "RB Chat Hard",
        "RB Safety",
        "RB Reasoning",
        "RB Average (pooled)",
        "UFB",
    ]
    columns = {head: [row[i] for row in table.texts] for i, head in enumerate(table.columns) if i}
    # The figures of the model card of SultanR/SmolTulu-1.7b-RM.
    assert columns["SultanR/SmolTulu-1.7b-RM †"] == [
        "94.13",
        "43.64",
        "75.54",
        "68.01",
        "72.43",
        "73.17",
    ]
    assert columns["allenai/Llama-3.1-Tulu-3-8B-RM †"] == [
        "96.27",
        "55.92",
        "84.05",
        "76.50",
        "81.34",
        "77.34",
    ]


def test_transposed_bold_is_the_same_number_as_upright() -> None:
    results = with_intervals({"a": (0, 0.7, 1), "b": (0, 0.6, 1)})
    found = board(*results)
    upright, turned = leaderboard_table(found), transposed_table(found)
    assert [row[0] for row in turned.rows] == ["X", "Y", "pooled", "sections"]
    assert {upright.texts[r][c] for r, c in upright.best} == {"70.00"}
    assert {turned.texts[r][c] for r, c in turned.best} == {"70.00"}
    assert len(upright.best) == len(turned.best) == 4


def test_side_by_side_a_model_has_one_row_for_all_suites() -> None:
    suites = [load_suite(name) for name in ("rewardbench", "ultrafeedback")]
    cards = [item for item in read_published() if "model card" in str(item.citation)]
    found = build_boards(cards, [suites])[0]
    table = leaderboard_table(found)
    assert len(table.rows) == 2
    assert "rewardbench: Chat Hard" in table.columns
    assert "ultrafeedback: pooled" in table.columns


# --- the block in a file -------------------------------------------------------------------------


def test_only_what_is_between_the_markers_changes() -> None:
    text = f"# Head\n\n{BEGIN}\nold\n{END}\n\ntail  \n"
    new = replace_block(text, "table\n", place="f")
    assert new == f"# Head\n\n{BEGIN}\n\ntable\n\n{END}\n\ntail  \n"
    assert replace_block(new, "table", place="f") == new


def test_line_ends_of_the_file_are_kept() -> None:
    text = f"a\r\n{BEGIN}\r\n{END}\r\nb"
    assert replace_block(text, "x\ny", place="f") == (
        f"a\r\n{BEGIN}\r\n\r\nx\r\ny\r\n\r\n{END}\r\nb"
    )


@pytest.mark.parametrize(
    "text",
    ["", BEGIN, f"{BEGIN}\n{END}\n{END}", f"`{BEGIN}` and `{END}`", f"{BEGIN}\n{BEGIN}\n{END}"],
)
def test_a_file_without_one_pair_of_markers_is_refused(text: str) -> None:
    with pytest.raises(ResultError, match="f: needs the lines"):
        replace_block(text, "x", place="f")


def test_markers_the_wrong_way_round_are_refused() -> None:
    with pytest.raises(ResultError, match="stands before"):
        replace_block(f"{END}\n{BEGIN}\n", "x", place="f")


def test_a_file_keeps_its_permissions_and_stays_a_link(tmp_path: Path) -> None:
    file, link = tmp_path / "file.md", tmp_path / "link.md"
    file.write_text("old")
    file.chmod(0o640)
    link.symlink_to(file)
    write_text(link, "new\r\n")
    assert link.is_symlink()
    assert file.read_bytes() == b"new\r\n"
    assert file.stat().st_mode & 0o777 == 0o640
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file.md", "link.md"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes that have names")
def test_a_pipe_is_written_to_and_stays_one(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    # Open at both ends, so that writing does not wait for a reader.
    end = os.open(pipe, os.O_RDWR)
    write_text(pipe, "text")
    assert os.read(end, 100) == b"text"
    os.close(end)
    assert pipe.is_fifo()


def test_a_file_that_cannot_be_read_or_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "latin.md").write_bytes(b"\xe9")
    with pytest.raises(ResultError, match="not UTF-8"):
        read_text(tmp_path / "latin.md")
    with pytest.raises(ResultError, match="cannot be read: No such file"):
        read_text(tmp_path / "none.md")
    with pytest.raises(
        ResultError, match=r"cannot be written: .*; make room, or give another file"
    ):
        write_text(tmp_path / "latin.md" / "x.md", "x")


# --- the command ---------------------------------------------------------------------------------


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for model in ("length", "shorter"):
        write_result(evaluate("mini", load_scorer(model)), tmp_path / "results")
    return tmp_path / "results"


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, ["leaderboard", *arguments], catch_exceptions=False)
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.usefixtures("results")
def test_update_is_idempotent_and_verify_sees_what_is_stale() -> None:
    readme = Path("README.md")
    readme.write_text(f"# x\n\n{BEGIN}\n{END}\n")
    command = ["--suite", "mini", "--update", "README.md"]
    assert run(*command, "--verify")[0] == 1
    assert readme.read_text() == f"# x\n\n{BEGIN}\n{END}\n"
    assert run(*command) == (0, "", "README.md: updated\n")
    first = readme.read_text()
    assert "| length" in first
    assert run(*command) == (0, "", "README.md: up to date\n")
    assert readme.read_text() == first
    assert run(*command, "--verify")[0] == 0
    readme.write_text(first.replace("50.00", "51.00"))
    assert run(*command, "--verify") == (
        1,
        "",
        "README.md: the table is stale; run the command without --verify\n",
    )


def test_verify_goes_with_update_alone() -> None:
    assert run("--verify")[0] == 2


@pytest.mark.usefixtures("results")
@pytest.mark.parametrize("fmt", ["table", "markdown", "csv", "json", "latex", "html"])
def test_every_format_holds_every_model(fmt: str) -> None:
    code, text, _ = run("--format", fmt)
    assert code == 0
    for model in ("length", "shorter", "SultanR/SmolTulu-1.7b-RM"):
        assert model in text


@pytest.mark.usefixtures("results")
def test_the_cards_layout_is_one_option_away() -> None:
    suites = ["--suite", "rewardbench", "--suite", "ultrafeedback"]
    code, text, _ = run("--transpose", *suites, "--format", "csv")
    lines = list(csv.reader(io.StringIO(text)))
    assert code == 0
    assert lines[-1][0] == "UFB"
    assert {"0.7734", "0.7317"} < set(lines[-1])


def test_results_of_an_unknown_suite_are_left_out_with_a_word(results: Path) -> None:
    write_result(toy_result(toy_margins(1)), results)
    code, text, error = run("results")
    assert code == 0
    assert "Toy" not in text
    assert error == "rmbench: results of toy are left out; give --suite its .toml\n"


def test_what_updates_a_file_is_markdown(results: Path) -> None:
    done = CliRunner().invoke(main, ["leaderboard", "--update", "x.md", "--format", "csv"])
    assert done.exit_code == 2
    assert "--update writes Markdown; leave --format out" in done.stderr


def test_a_measured_result_beside_its_published_twin_has_its_own_row(results: Path) -> None:
    twin = published(
        {"pooled": 0.5},
        model={"id": "length"},
        suite={"name": "mini", "version": 1, "headline": "sections"},
    )
    write_result(twin, results)
    code, text, _ = run("--suite", "mini", "--format", "json")
    rows = json.loads(text)[0]["rows"]
    assert code == 0
    assert sorted((row["model"], row["source"]) for row in rows) == [
        ("length", "measured"),
        ("length", "published"),
        ("shorter", "measured"),
    ]
