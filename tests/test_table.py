"""Tables to the last character, and nothing in them that a terminal or a page would obey."""

import csv
import html
import io
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded import changed

from rmbench.accuracy.aggregate import Accuracy
from rmbench.accuracy.analysis import Analyses, Confidence, LengthBias, OddsRatio
from rmbench.result.record import Result
from rmbench.result.store import read_published
from rmbench.show.audit import audit_notes, odds_text
from rmbench.show.card_table import card_table
from rmbench.show.exports import results_as_csv, results_as_json
from rmbench.show.formats import FORMATS, format_table
from rmbench.show.result import result_table
from rmbench.show.table import Cell, Table
from rmbench.suite.catalogue import load_suite
from rmbench.suite.definition import Average, Columns, Credit, Section, Source, Suite
from rmbench.wording import counted, percent, printable

SUITE = Suite(
    name="small",
    title="Small",
    version=1,
    source=Source(path="small.jsonl"),
    columns=(Columns(chosen="chosen", rejected="rejected"),),
    credit=Credit(tie=0.5),
    sections=(Section(name="A", subsets=("a",)), Section(name="B", subsets=("b",))),
    averages=(Average(name="pooled"), Average(name="both", sections=("A", "B"))),
    headline="both",
    folder=Path(),
    card={"The A": "A", "The mean": "both"},
)
TABLE = Table(
    title="A title",
    columns=["name", "x|y"],
    rows=[["first", Cell("share", 0.01)], ["a|b", Cell("share", 0.1)]],
    notes=["a note", "the|signature"],
)
WICKED = "\x1b[31mred\x1b[0m\x07\x9b2J\u202e\n<b>|"


def a_result(model: str = "org/m", **changes: Any) -> Result:
    item = Accuracy(accuracy=0.5, low=0.1501, high=0.8499, n=4, wins=1, ties=2)
    fields: dict[str, Any] = {
        "source": "measured",
        "suite": {"name": "small", "version": 1, "headline": "both", "origin": "small.jsonl"},
        "model": {"id": model},
        "averages": {"pooled": item, "both": item},
        "sections": {"A": item},
        "subsets": {"a": item},
        "signature": "small:1|org/m",
    }
    return Result(**(fields | changes))


@pytest.mark.parametrize(
    ("share", "shown"),
    [
        (0.0, "0.00"),
        (1.0, "100.00"),
        (337 / 358, "94.13"),
        (2162 / 2985, "72.43"),
        (1116 / 2985, "37.39"),
        (0.999949, "99.99"),
        (1e-9, "0.00"),
    ],
)
def test_a_share_prints_as_a_percentage_with_two_decimals(share: float, shown: str) -> None:
    assert percent(share) == shown


# --- formats -------------------------------------------------------------------------------------


def test_a_table_for_the_terminal() -> None:
    assert format_table(TABLE, "table") == (
        "A title\n"
        "\n"
        "name      x|y\n"
        "------  -----\n"
        "first    1.00\n"
        "a|b     10.00\n"
        "\n"
        "a note\n"
        "the|signature"
    )


def test_a_table_for_markdown_escapes_pipes() -> None:
    assert format_table(TABLE, "markdown") == (
        "### A title\n"
        "\n"
        "| name     |   x&#124;y |\n"
        "|:---------|-----------:|\n"
        "| first    |       1.00 |\n"
        "| a&#124;b |      10.00 |\n"
        "\n"
        "<sub>a note</sub>\n"
        "\n"
        "<sub>the&#124;signature</sub>"
    )


def test_a_table_as_csv() -> None:
    assert format_table(TABLE, "csv") == "name,x|y\nfirst,0.01\na|b,0.1"


def test_a_table_as_json() -> None:
    assert json.loads(format_table(TABLE, "json")) == {
        "title": "A title",
        "rows": [{"name": "first", "x|y": 0.01}, {"name": "a|b", "x|y": 0.1}],
        "notes": ["a note", "the|signature"],
    }


def test_a_table_without_notes_ends_with_its_last_row() -> None:
    table = Table(title="T", columns=["a", "b"], rows=[["x", "1"]], numeric=False)
    assert format_table(table, "table") == "T\n\na    b\n---  ---\nx    1"


@pytest.mark.parametrize("fmt", FORMATS)
def test_nothing_that_a_terminal_obeys_is_printed(fmt: str) -> None:
    table = Table(title=WICKED, columns=[WICKED, "x"], rows=[[WICKED, WICKED]], notes=[WICKED])
    text = format_table(table, fmt)
    assert all(char.isprintable() or char == "\n" for char in text)
    assert "red" in text


def test_markdown_opens_no_html() -> None:
    table = Table(title="<b>", columns=["<b>", "x"], rows=[["<img src=x>", "&lt;"]], notes=["<i>"])
    text = format_table(table, "markdown")
    assert text.replace("<sub>", "").replace("</sub>", "").count("<") == 0
    assert "&amp;lt;" in text


# As GitHub finds them in what a page shows, whatever escapes its source has: the patterns of its
# html-pipeline (mentions), and the forms that its documentation of autolinks lists.
CALLS = [
    re.compile(r"(?:^|\W)@[a-z0-9][a-z0-9-]*", re.IGNORECASE),
    re.compile(r"#\d|!\d|\bGH-\d", re.IGNORECASE),
    re.compile(r"\b(?:https?|ftp)://\w|\bwww\.\w", re.IGNORECASE),
    re.compile(r"[\w.+-]+@[\w-]+\.\w"),
    re.compile(r"\$\w[^$]*\$"),
]
CALLING = [
    "@user",
    "a @user/team",
    "#12",
    "org/repo#12",
    "!7",
    "GH-7",
    "https://example.org/x",
    "HTTP://EXAMPLE.ORG",
    "www.example.org",
    "someone@example.org",
    "$x$",
]


@pytest.mark.parametrize("text", CALLING)
def test_markdown_calls_nobody_and_links_nowhere(text: str) -> None:
    assert any(pattern.search(text) for pattern in CALLS)
    table = Table(title=text, columns=[text, text], rows=[[text, text]], notes=[text])
    shown = html.unescape(format_table(table, "markdown"))
    assert not any(pattern.search(shown) for pattern in CALLS)
    assert shown.replace("\u200b", "").count(text) == 6


def test_a_signature_in_markdown_can_be_copied() -> None:
    signature = "rewardbench:1|SultanR/SmolTulu-1.7b-RM@1a2b3c4|bfloat16|tmpl:tokenizer|rmbench:0.1"
    table = Table(title="T", columns=["a", "b"], rows=[["x", "y"]], notes=[signature])
    assert signature in html.unescape(format_table(table, "markdown"))


@pytest.mark.parametrize("text", ["a|b", "a\nb", "`a", "~~a~~", "\\", "<table>", "[a](b)", "*a*"])
def test_markdown_keeps_a_table_whole(text: str) -> None:
    table = Table(title="T", columns=["a", "b"], rows=[[text, text], ["x", "y"]])
    lines = format_table(table, "markdown").splitlines()[2:]
    assert [line.count("|") for line in lines] == [3, 3, 3, 3]


@given(st.text())
def test_what_is_printable_is_shown_as_it_is_and_all_else_escaped(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    if text.isprintable():
        assert shown == text


# --- one result ----------------------------------------------------------------------------------


def test_the_table_of_a_result() -> None:
    result = a_result(audit={"ties": 2, "dropped": 1, "near_ties": 0})
    assert format_table(result_table(result, SUITE), "table") == (
        "Small: org/m\n"
        "\n"
        "          accuracy %    95 % interval    n    won    tied\n"
        "------  ------------  ---------------  ---  -----  ------\n"
        "A              50.00     15.0 to 85.0    4      1       2\n"
        "pooled         50.00     15.0 to 85.0    4      1       2\n"
        "both           50.00     15.0 to 85.0    4      1       2\n"
        "\n"
        "pooled: every comparison counts the same\n"
        "both: mean of A, B\n"
        "audit: 2 ties (each earns 0.5); 1 comparison dropped\n"
        "small:1|org/m"
    )


def test_weights_other_than_the_counts_are_told() -> None:
    section = Section(name="A", subsets=("a",), weights={"a": 984.0})
    suite = SUITE.model_copy(update={"sections": (section,)})
    assert "A: a is weighted as 984 comparisons" in result_table(a_result(), suite).notes
    as_counted = section.model_copy(update={"weights": {"a": 4.0}})
    notes = result_table(a_result(), SUITE.model_copy(update={"sections": (as_counted,)})).notes
    assert not any("is weighted as" in note for note in notes)


def test_of_a_rule_below_chance_nobody_asks_whether_it_is_a_cost_model() -> None:
    model = a_result(audit={"below_chance": True})
    rule = changed(model, model={"id": "length", "kind": "builtin"})
    assert audit_notes(model, SUITE) == [
        "audit: below chance: does a low reward mean a good response (a cost model)?"
    ]
    assert audit_notes(rule, SUITE) == ["audit: below chance"]


def test_a_line_tells_of_length_and_of_calibration_where_they_matter() -> None:
    longer = Accuracy(accuracy=0.812, low=0.79, high=0.83, n=1234, wins=1002, ties=0)
    shorter = Accuracy(accuracy=0.221, low=0.2, high=0.24, n=1500, wins=331, ties=0)
    odds = OddsRatio(3.004, 2.469, 3.655)
    bias = LengthBias(longer=longer, equal=None, shorter=shorter, odds=odds, bins=())
    sure = Confidence(
        error=0.239, brier=0.3, confidence=0.952, right=0.713, n=2737, ties=3, p_value=0.0
    )
    told = a_result(analyses=Analyses(length=bias, calibration=sure))
    assert result_table(told, SUITE).notes[2:4] == [
        "length: 81.20 % right where the chosen response is longer (n 1,234), 22.10 % where it is"
        " shorter (n 1,500); within subsets the odds of winning are 3 (2.47 to 3.65) times as high"
        " where it is longer",
        "calibration: overconfident: mean confidence 95.2 %, accuracy 71.3 % (calibration error"
        " 0.239; 3 ties left out)",
    ]
    even = replace(bias, odds=OddsRatio(1.1, 0.9, 1.3))
    quiet = a_result(analyses=Analyses(length=even, calibration=replace(sure, error=0.01)))
    rule = changed(told, model={"id": "length", "kind": "builtin"})
    for result in (quiet, rule, a_result()):
        assert not any(
            note.startswith(("length", "calib")) for note in result_table(result, SUITE).notes
        )


@pytest.mark.parametrize(
    ("odds", "shown"),
    [
        (OddsRatio(1.0, 0.82234, 1.216), "1 (0.822 to 1.22)"),
        (OddsRatio(8e3, 12.0, 1e300), "over 1,000 (12 to over 1,000)"),
        (OddsRatio(2e-4, 1e-9, 0.5), "under 0.001 (under 0.001 to 0.5)"),
    ],
)
def test_odds_are_shown_with_their_interval(odds: OddsRatio, shown: str) -> None:
    assert odds_text(odds) == shown


@pytest.mark.parametrize(
    ("confidence", "right", "word"),
    [(0.9, 0.5, "overconfident"), (0.5, 0.9, "underconfident"), (0.7, 0.7, "miscalibrated")],
)
def test_calibration_says_which_way_it_is_off(confidence: float, right: float, word: str) -> None:
    sure = Confidence(error=0.2, brier=0.3, confidence=confidence, right=right, n=1000, p_value=0.0)
    notes = result_table(a_result(analyses=Analyses(length=None, calibration=sure)), SUITE).notes
    assert any(note.startswith(f"calibration: {word}") for note in notes)


@pytest.mark.parametrize(
    ("number", "words", "shown"),
    [
        (1, "comparisons", "1 comparison"),
        (0, "ties", "0 ties"),
        (1200, "margins below one step", "1,200 margins below one step"),
        (1, "comparisons equal to an earlier one", "1 comparison equal to an earlier one"),
    ],
)
def test_one_is_singular(number: int, words: str, shown: str) -> None:
    assert counted(number, words) == shown


def test_a_partial_run_of_one_is_one_comparison() -> None:
    assert result_table(a_result(partial=1), SUITE).title == "Small: org/m (partial: 1 comparison)"


def test_subsets_are_listed_first_on_request() -> None:
    rows = result_table(a_result(), SUITE, subsets=True).rows
    assert [row[0] for row in rows] == ["a", "A", "pooled", "both"]


def test_a_partial_result_says_so_in_its_title() -> None:
    assert result_table(a_result(partial=3), SUITE).title == (
        "Small: org/m (partial: 3 comparisons)"
    )


def test_an_average_that_a_partial_run_lacks_is_not_explained() -> None:
    result = a_result(averages={"pooled": Accuracy(accuracy=1.0)})
    assert "both: mean of A, B" not in result_table(result, SUITE).notes


def test_rows_of_another_file_are_told_unless_a_digest_vouches_for_them() -> None:
    result = a_result(suite=a_result().suite | {"origin": "copy.jsonl"})
    notes = result_table(result, SUITE).notes
    assert any("rows are those of copy.jsonl" in note and "small.jsonl" in note for note in notes)
    assert not any("copy" in line for line in result_table(a_result(), SUITE).notes)


@pytest.mark.parametrize(
    ("audit", "rule", "notes"),
    [
        ({}, "pair", []),
        ({"ties": 0, "duplicates": 0}, "pair", []),
        ({"ties": 3}, "best-of", ["audit: 3 ties (each shares the credit)"]),
        (
            {"near_ties": 4, "overflowed": 2, "identical_inputs": 1},
            "pair",
            [
                "audit: 4 margins below one step of the precision; 2 conversations over the limit"
                " of length; 1 comparison whose two sides gave the model the same tokens"
            ],
        ),
        (
            {"refused_batching": {"packed": 0.0123}},
            "pair",
            ["audit: batching packed refused: 0.012 from the lone forward"],
        ),
    ],
)
def test_the_audit_tells_what_it_found(audit: dict[str, Any], rule: str, notes: list[str]) -> None:
    suite = Suite(
        name="s",
        title="S",
        version=1,
        source=Source(path="s.jsonl"),
        columns=SUITE.columns,
        credit=Credit(rule=rule),
        sections=(),
        averages=SUITE.averages[:1],
        headline="pooled",
        folder=Path(),
    )
    assert audit_notes(a_result(audit=audit), suite) == notes


# --- the model card's table ----------------------------------------------------------------------


def test_the_published_columns_are_those_of_the_model_card() -> None:
    suites = [load_suite("rewardbench"), load_suite("ultrafeedback")]
    table = card_table(read_published(), suites)
    assert table is not None
    assert table.columns == [
        "Metric",
        "SultanR/SmolTulu-1.7b-RM (published)",
        "allenai/Llama-3.1-Tulu-3-8B-RM (published)",
    ]
    assert table.texts == [
        ["RB Chat", "94.13", "96.27"],
        ["RB Chat Hard", "43.64", "55.92"],
        ["RB Safety", "75.54", "84.05"],
        ["RB Reasoning", "68.01", "76.50"],
        ["RB Average (pooled)", "72.43", "81.34"],
        ["UFB", "73.17", "77.34"],
    ]
    assert len(table.notes) == 2
    assert all("model card of SultanR/SmolTulu-1.7b-RM" in note for note in table.notes)


def test_a_run_stands_beside_what_was_published_of_the_same_model() -> None:
    figures = {"both": Accuracy(accuracy=0.25)}
    published = a_result(
        source="published", citation="a card", signature=None, averages=figures, sections={}
    )
    table = card_table([a_result(), published], [SUITE])
    assert table is not None
    assert format_table(table, "table") == (
        "The model card's table\n"
        "\n"
        "Metric                          org/m    org/m (published)\n"
        "---------------  --------------------  -------------------\n"
        "The A            50.00 (15.0 to 85.0)\n"
        "The mean (both)  50.00 (15.0 to 85.0)                25.00\n"
        "\n"
        "org/m (published): a card\n"
        "small:1|org/m"
    )


def test_suites_without_a_card_have_no_such_table() -> None:
    assert card_table([], [load_suite("mini")]) is None


# --- records -------------------------------------------------------------------------------------


def test_results_as_csv_hold_every_number() -> None:
    published = a_result(
        "org/p",
        source="published",
        citation="c",
        averages={"both": Accuracy(accuracy=0.25)},
        sections={},
        subsets={},
    )
    assert results_as_csv([a_result(), published]) == (
        "suite,model,source,level,name,accuracy,low,high,n,wins,ties\n"
        "small,org/m,measured,average,pooled,0.5,0.1501,0.8499,4,1,2\n"
        "small,org/m,measured,average,both,0.5,0.1501,0.8499,4,1,2\n"
        "small,org/m,measured,section,A,0.5,0.1501,0.8499,4,1,2\n"
        "small,org/m,measured,subset,a,0.5,0.1501,0.8499,4,1,2\n"
        "small,org/p,published,average,both,0.25,,,,,"
    )


def test_results_as_json_are_the_records() -> None:
    assert json.loads(results_as_json([a_result()])) == [a_result().to_dict()]
    assert json.loads(results_as_json([])) == []


def test_wicked_names_are_harmless_in_records() -> None:
    for text in (results_as_csv([a_result(WICKED)]), results_as_json([a_result(WICKED)])):
        assert all(char.isprintable() or char == "\n" for char in text)
    rows = list(csv.reader(io.StringIO(results_as_csv([a_result('a,"b"')]))))
    assert rows[1][1] == 'a,"b"'
    assert json.loads(results_as_json([a_result(WICKED)]))[0]["model"]["id"] == WICKED


@pytest.mark.parametrize("text", [" =1+2", "\uff1d1+2", "=1+2", "-x"])
def test_a_formula_behind_a_blank_or_of_full_width_is_text_for_a_spreadsheet(text: str) -> None:
    table = Table(title="", columns=["a", "b"], rows=[[text, "-1.5"]])
    cells = next(csv.reader(format_table(table, "csv").splitlines()[1:]))
    assert cells == [f"'{printable(text)}", "-1.5"]


THIRD = Accuracy(accuracy=1 / 3, low=0.061, high=0.792, n=3, wins=1, ties=0)


@pytest.mark.parametrize(
    ("cell", "text", "columns"),
    [
        (Cell("count", 12345), "12,345", {"x": 12345}),
        (Cell("share", 95 / 107), "88.79", {"x": 95 / 107}),
        (Cell("interval", (0.061, 0.792)), "6.1 to 79.2", {"x low": 0.061, "x high": 0.792}),
        (Cell("points", -0.0157), "-1.57", {"x": -0.0157}),
        (Cell("reach", (-0.03, 0.01)), "-3.00 to +1.00", {"x low": -0.03, "x high": 0.01}),
        (Cell("p", 0.00001), "<0.0001", {"x": 0.00001}),
        (Cell("accuracy", THIRD), "33.33", {"x": 1 / 3, "x low": 0.061, "x high": 0.792}),
        (
            Cell("accuracy and interval", THIRD),
            "33.33 (6.1 to 79.2)",
            {"x": 1 / 3, "x low": 0.061, "x high": 0.792},
        ),
        (Cell("accuracy", None), "", {"x": None, "x low": None, "x high": None}),
        (Cell("points", None), "", {"x": None}),
    ],
)
def test_data_formats_have_a_cells_value_and_the_others_its_text(
    cell: Cell, text: str, columns: dict[str, Any]
) -> None:
    table = Table(title="", columns=["", "x"], rows=[["row", cell]])
    lines = format_table(table, "csv").splitlines()
    assert cell.text == text
    assert cell.columns("x") == columns
    if text:  # columns of intervals are left out where no row has one
        assert lines[0].split(",")[1:] == list(columns)
        assert lines[1].split(",")[1:] == [str(value) for value in columns.values()]
        assert text in format_table(table, "table")


def test_a_number_of_wins_that_is_not_the_accuracy_has_its_reason_beside_it() -> None:
    # 9 of 10 and 10 of 30: 19 of 40 are won, and the mean of both sections is 61.67 %.
    one = Accuracy(accuracy=0.9, low=0.6, high=0.98, n=10, wins=9, ties=0)
    two = Accuracy(accuracy=1 / 3, low=0.19, high=0.51, n=30, wins=10, ties=0)
    mean = Accuracy(accuracy=(0.9 + 1 / 3) / 2, low=0.4, high=0.8, n=40, wins=19, ties=0)
    pooled = Accuracy(accuracy=19 / 40, low=0.3, high=0.6, n=40, wins=19, ties=0)
    result = a_result(
        sections={"A": one, "B": two},
        averages={"pooled": pooled, "both": mean},
        subsets={"a": one, "b": two},
    )
    notes = result_table(result, SUITE).notes
    assert [note for note in notes if " won is " in note] == [
        "both: 19 of 40 won is 47.50 %, but the parts are weighted differently"
    ]


@pytest.mark.parametrize(
    ("difference", "text"), [(0.0458, "+4.58"), (-0.1, "-10.00"), (-1e-9, "+0.00"), (0.0, "+0.00")]
)
def test_what_rounds_to_nothing_has_no_minus(difference: float, text: str) -> None:
    assert Cell("points", difference).text == text
