"""Rows in the forms of other data sets: labels, signs, candidates, paths, parts, conversations."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from rmbench.errors import DataError, RmbenchError, SuiteError
from rmbench.suite.catalogue import load_suite
from rmbench.suite.comparison import Comparison
from rmbench.suite.feed import Feed, open_feed

PAIR = '[columns]\nprompt = "q"\nresponses = ["a", "b"]\n'


def opened(
    folder: Path, rows: list[dict[str, Any]], columns: str, *, source: str = "", rest: str = ""
) -> Feed:
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = folder / "s.toml"
    path.write_text(f'name = "s"\n[source]\npath = "rows.jsonl"\n{source}\n{columns}\n{rest}\n')
    return open_feed(load_suite(str(path)))


def sides(feed: Feed) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    return [(item.chosen, item.rejected) for item in feed]


# --- which response is preferred -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("preferred", "values", "first", "left_out"),
    [
        ('{ column = "v", first = ["A>B"], second = ["B>A"] }', ["A>B", "B>A"], [1, 0], 0),
        (
            '{ column = "v", first = ["model_a"], second = ["model_b"], even = ["tie"] }',
            ["model_b", "tie", "model_a"],
            [0, 1],
            1,
        ),
        ('{ column = "v", first = [1], second = [2] }', [1, 2.0, "2"], [1, 0, 0], 0),
        ('{ column = "v", first = [true], second = [false] }', [True, False, "true"], [1, 0, 1], 0),
        ('{ column = "v", first = "negative", even = "drop" }', [-3, 0, 2, "-1"], [1, 0, 1], 1),
        ('{ column = "v", first = "positive" }', [0.5, -1], [1, 0], 0),
    ],
)
def test_a_label_or_a_sign_says_which_response_is_preferred(
    preferred: str, values: list[Any], first: list[int], left_out: int, tmp_path: Path
) -> None:
    rows = [{"q": f"?{i}", "a": "one", "b": "two", "v": v} for i, v in enumerate(values)]
    feed = opened(tmp_path, rows, f"{PAIR}preferred = {preferred}")
    better = {1: (("one",), ("two",)), 0: (("two",), ("one",))}
    assert sides(feed) == [better[item] for item in first]
    assert feed.contents.audit.get("left_out", {}).get("even", 0) == left_out


def test_ratings_say_it_too(tmp_path: Path) -> None:
    rows = [{"q": "?", "a": "one", "b": "two", "x": x, "y": 3} for x in (5, 3, 1)]
    preferred = '{ columns = ["x", "y"], first = "lower", even = "drop" }'
    feed = opened(tmp_path, rows, f"{PAIR}preferred = {preferred}")
    assert sides(feed) == [(("two",), ("one",)), (("one",), ("two",))]


@pytest.mark.parametrize(
    ("preferred", "value", "finding"),
    [
        ('{ column = "v", first = ["A"], second = ["B"] }', "C", "first, second or even"),
        ('{ column = "v", first = [1], second = [2] }', True, "first, second or even"),
        ('{ column = "v", first = "negative" }', 0, 'add even = "drop"'),
        ('{ column = "v", first = "negative" }', "better", "is no number"),
        ('{ column = "v", first = "negative" }', "", "is empty"),
    ],
)
def test_a_row_that_says_neither_is_told(
    preferred: str, value: Any, finding: str, tmp_path: Path
) -> None:
    rows = [{"q": "?", "a": "one", "b": "two", "v": value}]
    with pytest.raises(DataError, match=r"rows\.jsonl, row 1") as caught:
        opened(tmp_path, rows, f"{PAIR}preferred = {preferred}")
    assert finding in str(caught.value)


# --- candidates ----------------------------------------------------------------------------------

NUMBERED = (
    '[columns]\nid = ["id"]\nprompt = "q"\ncandidates = "r_{n}"\nn = [1, 3]\ncorrect = "ok"\n'
)


def candidate_row(**fields: Any) -> dict[str, Any]:
    row = {"id": "x", "q": "?", "r_1": "a", "r_2": "b", "r_3": "c", "ok": [True, False, True]}
    return row | {"pairs": [[0, 1], [1, 2]]} | fields


def test_pairs_of_numbered_candidates_are_comparisons(tmp_path: Path) -> None:
    feed = opened(tmp_path, [candidate_row()], f'{NUMBERED}pairs = "pairs"')
    assert sides(feed) == [(("a",), ("b",)), (("c",), ("b",))]
    assert feed.contents.ids == ["s/x/0", "s/x/1"]
    assert len(set(feed.contents.clusters)) == 1  # one prompt


def test_without_pairs_all_right_ones_stand_against_all_wrong_ones(tmp_path: Path) -> None:
    rows = [candidate_row(), candidate_row(id="y", ok=[True] * 3)]
    rule = '[credit]\nrule = "all-pairs"'
    feed = opened(tmp_path, rows, NUMBERED, rest=rule)
    assert sides(feed) == [(("a", "c"), ("b",))]
    assert feed.contents.audit["left_out"] == {"one_sided": 1}


@pytest.mark.parametrize(
    ("fields", "finding"),
    [
        ({"pairs": [[0, 2]]}, "both right; a pair needs one of each"),
        ({"pairs": [[0, 3]]}, "numbers from 0 to 2"),
        ({"pairs": [[0]]}, "numbers from 0 to 2"),
        ({"pairs": "0-1"}, "numbers from 0 to 2"),
        ({"ok": [True, False]}, "one for each of 3 candidates"),
        ({"ok": [True, False, "yes"]}, "true and false"),
        ({"r_2": 7}, "must hold texts"),
    ],
)
def test_candidates_that_do_not_fit_together_are_told(
    fields: dict[str, Any], finding: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"rows\.jsonl, row 1") as caught:
        opened(tmp_path, [candidate_row(**fields)], f'{NUMBERED}pairs = "pairs"')
    assert finding in str(caught.value)


# --- fields, subsets, rows -----------------------------------------------------------------------


def test_a_path_of_names_leads_into_a_column_and_over_a_list(tmp_path: Path) -> None:
    columns = '[columns]\nprompt = "q"\nchosen = "best.answer"\nrejected = "losers.answer"\n'
    row = {"q": "?", "best": {"answer": "a"}, "losers": [{"answer": "b"}, {"answer": "c"}]}
    feed = opened(tmp_path, [row], columns, rest='[credit]\nrule = "best-of"\ntie = "lose"')
    assert sides(feed) == [(("a",), ("b", "c"))]


def test_a_column_of_exactly_this_name_comes_first(tmp_path: Path) -> None:
    columns = '[columns]\nprompt = "q"\nchosen = "best.answer"\nrejected = "r"\n'
    row = {"q": "?", "best.answer": "a", "best": {"answer": "z"}, "r": "b"}
    assert sides(opened(tmp_path, [row], columns)) == [(("a",), ("b",))]


def test_subsets_are_joined_and_sections_follow_from_their_parts(tmp_path: Path) -> None:
    columns = '[columns]\nsubset = ["l", "s"]\nprompt = "q"\nchosen = "c"\nrejected = "r"\n'
    rows = [{"l": x, "s": y, "q": "?", "c": "a", "r": "b"} for x in "de" for y in "xy"]
    rest = '[sections]\npart = 1\nweights = { x = 3 }\n[averages]\nall = { mean = "sections" }'
    feed = opened(tmp_path, rows, columns, rest=rest)
    assert [(s.name, s.subsets, s.weights) for s in feed.suite.sections] == [
        ("d", ("d/x", "d/y"), {"d/x": 3.0}),
        ("e", ("e/x", "e/y"), {"e/x": 3.0}),
    ]


def test_a_column_of_sections_is_the_first_part(tmp_path: Path) -> None:
    columns = '[columns]\nsection = "l"\nsubset = "s"\nprompt = "q"\nchosen = "c"\nrejected = "r"\n'
    rows = [{"l": x, "s": "x", "q": "?", "c": "a", "r": "b"} for x in "de"]
    feed = opened(tmp_path, rows, columns)
    assert [section.name for section in feed.suite.sections] == ["d", "e"]
    assert feed.contents.subsets == ["d/x", "e/x"]


def test_rows_that_do_not_count_are_left_out_and_counted(tmp_path: Path) -> None:
    columns = '[columns]\nprompt = "q"\nchosen = "c"\nrejected = "r"\nskip = { c = [true, "-"] }\n'
    rows = [{"q": "?", "c": c, "r": "b"} for c in (True, "a", "-")]
    feed = opened(tmp_path, rows, columns)
    assert sides(feed) == [(("a",), ("b",))]
    assert feed.contents.audit["left_out"] == {"skipped": 2}


def test_clusters_are_prompts_or_columns_or_parallel_subsets(tmp_path: Path) -> None:
    rows = [{"s": s, "k": k, "q": f"?{s}{k % 2}", "c": "a", "r": "b"} for s in "xy" for k in (1, 2)]
    columns = '[columns]\nsubset = "s"\nprompt = "q"\nchosen = "c"\nrejected = "r"\n'
    by_prompt, by_column, parallel = (
        Counter(Counter(opened(tmp_path, rows, columns + more).contents.clusters).values())
        for more in ("", 'cluster = "s"', 'parallel = ["x", "y"]')
    )
    assert by_prompt == {1: 4}
    assert by_column == {2: 2}
    assert parallel == {2: 2}


# --- parts of a source ---------------------------------------------------------------------------

PLAIN = '[columns]\nsubset = { from = "%s" }\nprompt = "q"\nchosen = "c"\nrejected = "r"\n'
ROW = json.dumps({"q": "?", "c": "a", "r": "b"}) + "\n"


@pytest.mark.parametrize(
    ("source", "origin", "files", "subsets"),
    [
        ('splits = ["t", "u"]', "split", ["t.jsonl", "u.jsonl"], ["t", "u"]),
        ('configs = ["t", "u"]', "config", ["t/0.jsonl", "u/0.jsonl"], ["t", "u"]),
        ("", "file", ["t/x.jsonl", "u.jsonl"], ["t/x", "u"]),
        ("", "folder", ["t/x.jsonl", "u/v/x.jsonl"], ["t", "u/v"]),
    ],
)
def test_a_subset_is_called_after_where_its_rows_are(
    source: str, origin: str, files: list[str], subsets: list[str], tmp_path: Path
) -> None:
    for name in files:
        (tmp_path / "d" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "d" / name).write_text(ROW)
    path = tmp_path / "s.toml"
    path.write_text(f'name = "s"\n[source]\npath = "d"\n{source}\n{PLAIN % origin}')
    assert open_feed(load_suite(str(path))).contents.subsets == subsets


def test_a_part_that_is_missing_is_told(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "t.jsonl").write_text(ROW)
    path = tmp_path / "s.toml"
    path.write_text(f'name = "s"\n[source]\npath = "d"\nsplits = ["t", "u"]\n{PLAIN % "split"}')
    with pytest.raises(DataError, match='no file is named after the split "u"'):
        open_feed(load_suite(str(path)))


# --- conversations and steps ---------------------------------------------------------------------


def test_whole_conversations_share_what_both_begin_with(tmp_path: Path) -> None:
    def turns(*texts: str) -> list[dict[str, str]]:
        roles = ["user", "assistant", "tool", "assistant"]
        return [{"role": r, "content": t} for r, t in zip(roles, texts, strict=False)]

    row = {
        "c": {"messages": turns("q", "call", "found", "so")},
        "r": {"messages": turns("q", "no")},
    }
    columns = '[columns]\nchosen = "c.messages"\nrejected = "r.messages"\nsides = "conversations"\n'
    (item,) = list(opened(tmp_path, [row], columns))
    assert isinstance(item, Comparison)
    assert [message.content for message in item.prompt] == ["q"]
    assert item.chosen == ("call\n\nfound\n\nso",)
    good, bad = item.conversations()
    assert [m["role"] for m in good.messages] == ["user", "assistant", "tool", "assistant"]
    assert [m["content"] for m in bad.messages] == ["q", "no"]


def test_steps_have_the_numbers_of_the_wrong_ones(tmp_path: Path) -> None:
    columns = '[columns]\nprompt = "q"\nsteps = "s"\nerrors = "e"\n'
    rows = [{"q": "?", "s": ["one", "two"], "e": e} for e in ([2, 9], [])]
    feed = opened(tmp_path, rows, columns, rest='[credit]\nrule = "steps"')
    assert [(item.steps, item.faulty) for item in feed] == [
        (("one", "two"), (1,)),
        (("one", "two"), ()),
    ]
    assert feed.contents.faulty == [(1,), ()]
    assert [c.steps for item in feed for c in item.conversations()] == [("one", "two")] * 2


# --- suite files that cannot mean what they say --------------------------------------------------

COLUMNS = '[columns]\nprompt = "q"\nchosen = "c"\nrejected = "r"\n'


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        (f"{PAIR}", "[columns]: preferred is missing; add it (a table)"),
        (f'{PAIR}chosen = "c"\nrejected = "r"', "exclude each other; keep one"),
        (f'{PAIR}preferred = {{ column = "v", first = "less" }}', "first does not say"),
        (f'{PAIR}preferred = {{ first = ["A"] }}', "name one column of labels or signs"),
        (
            f'{PAIR}preferred = {{ column = "v", first = ["A"], second = ["A"] }}',
            "[preferred]: a label appears twice",
        ),
        (NUMBERED.replace("n = [1, 3]\n", ""), 'numbered candidates need "{n}"'),
        (NUMBERED.replace("[1, 3]", "[3, 1]"), "two numbers from 0"),
        (COLUMNS.replace('"c"', '"a.b.c.d"'), "has not one to 3 names"),
        (f'{COLUMNS}subset = {{ from = "moon" }}', "known: config, file, folder, path, split"),
        (f"{PAIR}preferred = {{ first = [[1]], second = [2] }}", "first[0] is a list"),
        (f"{COLUMNS}[credit]\ntie = []", "[credit]: tie is a list; it must be a number"),
        (f'{COLUMNS}[credit]\nrule = "styles"', "styles"),
        (f'{COLUMNS}[credit]\nrule = "steps"', "go together; give both or neither"),
        (f'{COLUMNS}[credit]\nrule = "rank"\ntie = 0.5', "tie goes with"),
        (f'{COLUMNS}[credit.X]\nrul = "pair"', '[credit]: [X]: unknown key "rul"'),
        (f'{COLUMNS}[averages]\nx = {{ mean = [], cells = "above" }}', "mean is empty"),
        (f'{COLUMNS}[averages]\nx = {{ mean = "sections" }}', "there are no sections"),
    ],
)
def test_a_suite_file_that_cannot_mean_what_it_says_is_refused(
    text: str, finding: str, tmp_path: Path
) -> None:
    path = tmp_path / "s.toml"
    path.write_text(f'name = "s"\n[source]\npath = "rows.jsonl"\n{text}\n')
    with pytest.raises(SuiteError) as caught:
        load_suite(str(path))
    assert str(caught.value).startswith(f"{path}: ")
    assert finding in str(caught.value)


def test_best_of_with_several_chosen_responses_is_refused_unless_asked_for(tmp_path: Path) -> None:
    row = {"q": "?", "c": ["a", "b", "c"], "r": ["d", "e", "f"]}
    rule = '[credit]\nrule = "best-of"\n'
    with pytest.raises(RmbenchError, match="several = true"):
        opened(tmp_path, [row], COLUMNS, rest=rule)
    assert len(opened(tmp_path, [row], COLUMNS, rest=f"{rule}several = true").contents.ids) == 1


def test_a_number_of_any_length_is_a_label_among_others(tmp_path: Path) -> None:
    rows = [{"q": "x", "c": "a", "r": "b", "v": value} for value in (10**400, 1.0, 2)]
    columns = '[columns]\nprompt = "q"\nchosen = "c"\nrejected = "r"\nskip = { v = [1] }\n'
    assert opened(tmp_path, rows, columns).contents.audit["left_out"] == {"skipped": 1}


def test_messages_as_numpy_shows_them_are_refused_as_pythons_are(tmp_path: Path) -> None:
    shown = "array([{'role': 'user', 'content': 'Why?'}], dtype=object)"
    with pytest.raises(DataError, match="messages as Python shows them"):
        opened(
            tmp_path,
            [{"q": shown, "c": "a", "r": "b"}],
            '[columns]\nprompt = "q"\nchosen = "c"\nrejected = "r"\n',
        )


def test_parts_of_text_have_three_names(tmp_path: Path) -> None:
    kinds = ("text", "input_text", "output_text")
    content = [{"type": kind, "text": kind[:2]} for kind in kinds]
    rows = [{"q": [{"role": "user", "content": content}], "c": "a", "r": "b"}]
    columns = '[columns]\nprompt = "q"\nchosen = "c"\nrejected = "r"\n'
    (found,) = opened(tmp_path, rows, columns)
    assert "".join(found.prompt[0].text.split()) == "teinou"
