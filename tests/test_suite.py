"""Suite files: what the bundled ones say, and what a wrong one is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from rmbench.errors import MAX_NAMES, RmbenchError, SuiteError, did_you_mean
from rmbench.suite import toml
from rmbench.suite.catalogue import find_suite, list_suites, load_suite
from rmbench.suite.definition import Average, Columns, Credit, Section, Source, Suite, Transcript

REWARDBENCH_SECTIONS = {
    "Chat": 5,
    "Chat Hard": 6,
    "Safety": 5,
    "Reasoning": 7,
}
"""Subsets of each section; 23 in all (RewardBench, arXiv 2403.13787, table 1)."""


def demo(
    *,
    top: str = 'name = "demo"',
    source: str = 'path = "demo.jsonl"',
    columns: str = '[columns]\nchosen = "good"\nrejected = "bad"',
    rest: str = "",
) -> str:
    """Return a suite file that is right wherever a test does not say otherwise."""
    return f"{top}\n[source]\n{source}\n{columns}\n{rest}\n"


def load(folder: Path, text: str | bytes) -> Suite:
    path = folder / "demo.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return load_suite(str(path))


# --- files that are right ------------------------------------------------------------------------


def test_a_suite_file_needs_a_name_a_path_and_two_columns_and_the_rest_has_defaults(
    tmp_path: Path,
) -> None:
    assert load(tmp_path, demo()) == Suite(
        name="demo",
        title="demo",
        version=1,
        source=Source(path="demo.jsonl", empty="error"),
        columns=(Columns(chosen="good", rejected="bad"),),
        credit=Credit(rule="pair", tie=0.0),
        sections=(),
        averages=(Average(name="pooled"),),
        headline="pooled",
        folder=tmp_path,
    )


def test_every_key_of_a_suite_file_arrives(tmp_path: Path) -> None:
    text = demo(
        top='name = "demo"\ntitle = "Demo"\nversion = 3\nreference = "R"\nlicense = "L"',
        source='path = "org/name"\nname = "c"\ndata_dirs = ["x", "y"]\nsplit = "test"\n'
        f'revision = "main"\ncomparisons = 7\nsha256 = "{"0a" * 32}"\nempty = "keep"',
        columns='[columns]\nid = ["a", "b"]\nsubset = "s"\nprompt = "p"\nchosen = "c"\n'
        'rejected = "r"',
        rest='[credit]\ntie = 1\n[sections]\nX = ["x"]\n'
        'Y = { subsets = ["y", "z"], weights = { y = 2, z = 0.5 } }\n'
        '[averages]\nall = "comparisons"\nparts = { mean = ["X", "Y"] }\nheadline = "parts"\n'
        '[card]\n"Column" = "X"\n"Average" = "all"',
    )
    assert load(tmp_path, text) == Suite(
        name="demo",
        title="Demo",
        version=3,
        reference="R",
        license="L",
        source=Source(
            path="org/name",
            name="c",
            data_dirs=("x", "y"),
            split="test",
            revision="main",
            comparisons=7,
            sha256="0a" * 32,
            empty="keep",
        ),
        columns=(Columns(id=("a", "b"), subset="s", prompt="p", chosen="c", rejected="r"),),
        credit=Credit(rule="pair", tie=1.0),
        sections=(
            Section(name="X", subsets=("x",)),
            Section(name="Y", subsets=("y", "z"), weights={"y": 2.0, "z": 0.5}),
        ),
        averages=(Average(name="all"), Average(name="parts", sections=("X", "Y"))),
        headline="parts",
        folder=tmp_path,
        card={"Column": "X", "Average": "all"},
    )


def test_shapes_of_a_row_keep_their_order(tmp_path: Path) -> None:
    columns = (
        '[[columns]]\nid = ["id"]\nprompt = "p"\nchosen = "c"\nrejected = "r"\n'
        '[[columns]]\nchosen = "c"\nrejected = "r"\n'
        'transcript = { user = "\\n\\nHuman: ", assistant = "\\n\\nAssistant: " }'
    )
    first, second = load(tmp_path, demo(columns=columns)).columns
    assert first.needed == ("id", "p", "c", "r")
    assert second.needed == ("c", "r")
    assert second.transcript == Transcript(user="\n\nHuman: ", assistant="\n\nAssistant: ")


def test_columns_of_scores_are_optional_for_a_row(tmp_path: Path) -> None:
    columns = '[columns]\nchosen = "c"\nrejected = "r"\nscores = ["score_c", "score_r"]'
    (shape,) = load(tmp_path, demo(columns=columns)).columns
    assert shape.scores == ("score_c", "score_r")
    assert shape.needed == ("c", "r")


def test_one_average_needs_no_headline(tmp_path: Path) -> None:
    suite = load(tmp_path, demo(rest='[averages]\nall = "comparisons"'))
    assert suite.headline == "all"


def test_an_average_says_in_words_what_is_averaged() -> None:
    assert Average(name="a").meaning == "every comparison counts the same"
    assert Average(name="a", sections=("X", "Y")).meaning == "mean of X, Y"


def test_a_byte_order_mark_is_no_part_of_a_suite_file(tmp_path: Path) -> None:
    assert load(tmp_path, b"\xef\xbb\xbf" + demo().encode()).name == "demo"


def test_loading_a_suite_reads_no_data(tmp_path: Path) -> None:
    load(tmp_path, demo(source='path = "absent/file.jsonl"'))


# --- files that are wrong ------------------------------------------------------------------------

SECTION_X = '[sections]\nX = ["x"]\n'
IN_FOLDER = (
    " is not in the folder of the suite file;"
    " give org/name of the Hub, or a file beside the suite file"
)

BROKEN = {
    "a key without its value": (
        "name =",
        "not TOML: Invalid value (at end of document); fix the syntax",
    ),
    "no name": (demo(top=""), "name is missing; add it (a text)"),
    "no source": ('name = "demo"', "source is missing; add it (a table)"),
    "no path": (demo(source=""), "[source]: path is missing; add it (a text)"),
    "no columns": (demo(columns=""), "columns is missing; add it (a table)"),
    "no chosen": (
        demo(columns='[columns]\nrejected = "bad"'),
        "[columns]: chosen is missing; add it (a text)",
    ),
    "no rejected": (
        demo(columns='[columns]\nchosen = "good"'),
        "[columns]: rejected is missing; add it (a text)",
    ),
    "a name of another type": (demo(top="name = 3"), "name is a whole number; it must be a text"),
    "a name that could be a path": (
        demo(top='name = "../x"'),
        'name = "../x"; use lower-case letters, digits, ".", "-" and "_"',
    ),
    "a name with two lines": (
        demo(top='name = "a\\nb"'),
        'name = "a\\nb"; use lower-case letters, digits, ".", "-" and "_"',
    ),
    "a title that is true": (
        demo(top='name = "demo"\ntitle = true'),
        "title is true or false; it must be a text",
    ),
    "a date for a title": (
        demo(top='name = "demo"\ntitle = 2024-01-01'),
        "title is date; it must be a text",
    ),
    "version zero": (
        demo(top='name = "demo"\nversion = 0'),
        "version = 0; it must be 1 or more",
    ),
    "half a version": (
        demo(top='name = "demo"\nversion = 1.5'),
        "version is a number; it must be a whole number",
    ),
    "a version that is true": (
        demo(top='name = "demo"\nversion = true'),
        "version is true or false; it must be a whole number",
    ),
    "an unknown key": (
        demo(top='name = "demo"\nlicence = "MIT"'),
        'unknown key "licence"; did you mean "license"?',
    ),
    "an unknown key unlike any other": (
        demo(source='path = "p"\nzzz = 1'),
        '[source]: unknown key "zzz"; known: comparisons, configs, data_dirs, empty, files, name,'
        " parts, path, paths, revision, sha256, split, splits, wanted",
    ),
    "an unknown table": (
        demo(rest="[credits]"),
        'unknown key "credits"; did you mean "credit"?',
    ),
    "an unknown key of columns": (
        demo(columns='[columns]\nchosen = "c"\nrejected = "r"\npromt = "p"'),
        '[columns]: unknown key "promt"; did you mean "prompt"?',
    ),
    "source is a text": (
        'name = "demo"\nsource = "x"\n[columns]\nchosen = "c"\nrejected = "r"',
        "source is a text; it must be a table",
    ),
    "a path out of the folder": (
        demo(source='path = "../data.jsonl"'),
        f'[source]: path = "../data.jsonl"{IN_FOLDER}',
    ),
    "a path through the folder and out": (
        demo(source='path = "a/../../data.jsonl"'),
        f'[source]: path = "a/../../data.jsonl"{IN_FOLDER}',
    ),
    "an absolute path": (
        demo(source='path = "/etc/passwd"'),
        f'[source]: path = "/etc/passwd"{IN_FOLDER}',
    ),
    "a path with backslashes": (
        demo(source="path = 'C:\\data'"),
        f'[source]: path = "C:\\data"{IN_FOLDER}',
    ),
    "an empty path": (demo(source='path = ""'), f'[source]: path = ""{IN_FOLDER}'),
    "a blank path": (demo(source='path = " "'), f'[source]: path = " "{IN_FOLDER}'),
    "a path with a zero byte": (
        demo(source='path = "a\\u0000b"'),
        f'[source]: path = "a\\x00b"{IN_FOLDER}',
    ),
    "no comparisons wanted": (
        demo(source='path = "p"\ncomparisons = 0'),
        "[source]: comparisons = 0; it must be 1 or more",
    ),
    "a short digest": (
        demo(source='path = "p"\nsha256 = "abc"'),
        "[source]: sha256 is not 64 lower-case hexadecimal digits; fix it",
    ),
    "an upper-case digest": (
        demo(source=f'path = "p"\nsha256 = "{"AB" * 32}"'),
        "[source]: sha256 is not 64 lower-case hexadecimal digits; fix it",
    ),
    "an unknown way with empty texts": (
        demo(source='path = "p"\nempty = "kep"'),
        '[source]: empty = "kep"; did you mean "keep"?',
    ),
    "a data folder that is a number": (
        demo(source='path = "p"\ndata_dirs = [1]'),
        "[source]: data_dirs[0] is a whole number; it must be a text",
    ),
    "an empty data folder": (
        demo(source='path = "p"\ndata_dirs = [""]'),
        "[source]: data_dirs must be a list of texts, none empty",
    ),
    "a data folder out of the data": (
        demo(source='path = "p"\ndata_dirs = ["../x"]'),
        '[source]: data_dirs names "../x"; it must be a folder inside the data set',
    ),
    "an absolute data folder": (
        demo(source='path = "p"\ndata_dirs = ["a", "/etc"]'),
        '[source]: data_dirs names "/etc"; it must be a folder inside the data set',
    ),
    "an id column twice": (
        demo(columns='[columns]\nid = ["a", "a"]\nchosen = "c"\nrejected = "r"'),
        "[columns]: id names something twice; name it once",
    ),
    "an id column that is a text": (
        demo(columns='[columns]\nid = "a"\nchosen = "c"\nrejected = "r"'),
        "[columns]: id is a text; it must be a list",
    ),
    "one column of scores": (
        demo(columns='[columns]\nchosen = "c"\nrejected = "r"\nscores = ["s"]'),
        "[columns]: scores names 1 columns; name two, the score of the chosen side and that of the"
        " rejected one",
    ),
    "the same column of scores twice": (
        demo(columns='[columns]\nchosen = "c"\nrejected = "r"\nscores = ["s", "s"]'),
        "[columns]: scores names something twice; name it once",
    ),
    "columns that are a text": (
        demo(top='name = "demo"\ncolumns = "c"', columns=""),
        "columns is a text; it must be a list",
    ),
    "a list of columns without one": (
        demo(top='name = "demo"\ncolumns = []', columns=""),
        "columns must be a table [columns], or several [[columns]]",
    ),
    "a list of texts for columns": (
        demo(top='name = "demo"\ncolumns = ["c"]', columns=""),
        "columns[0] is a text; it must be a table",
    ),
    "a key missing from the second shape": (
        demo(columns='[[columns]]\nchosen = "c"\nrejected = "r"\n[[columns]]\nchosen = "c"'),
        "[[columns]]: rejected is missing; add it (a text)",
    ),
    "one mark": (
        demo(columns='[columns]\nchosen = "c"\nrejected = "r"\ntranscript = { user = "H:" }'),
        "[columns]: [transcript]: assistant is missing; add it (a text)",
    ),
    "a mark too many": (
        demo(
            columns='[columns]\nchosen = "c"\nrejected = "r"\n'
            'transcript = { user = "H:", assistant = "A:", sytem = "S:" }'
        ),
        '[columns]: [transcript]: unknown key "sytem"; known: assistant, user',
    ),
    "a blank mark": (
        demo(
            columns='[columns]\nchosen = "c"\nrejected = "r"\n'
            'transcript = { user = "\\n\\n", assistant = "A:" }'
        ),
        "[columns]: [transcript]: a mark is blank; give the text that opens a turn",
    ),
    "a prompt beside a transcript": (
        demo(
            columns='[columns]\nprompt = "p"\nchosen = "c"\nrejected = "r"\n'
            'transcript = { user = "H:", assistant = "A:" }'
        ),
        "[columns]: prompt and transcript exclude each other; remove one",
    ),
    "an unknown rule": (
        demo(rest='[credit]\nrule = "best"'),
        '[credit]: rule = "best"; did you mean "best-of"?',
    ),
    "a rule that is code": (
        demo(rest='[credit]\nrule = "lambda: 1"'),
        '[credit]: rule = "lambda: 1"; known: all-of, all-pairs, best-of, first-error, pair, rank,'
        " steps, styles, ties",
    ),
    "too much for a tie": (
        demo(rest="[credit]\ntie = 1.5"),
        "[credit]: tie = 1.5; a credit lies between 0 and 1",
    ),
    "a tie that is no number": (
        demo(rest="[credit]\ntie = nan"),
        "[credit]: tie = nan; a credit lies between 0 and 1",
    ),
    "a tie of 400 digits": (
        demo(rest=f"[credit]\ntie = {'9' * 400}"),
        "[credit]: tie = inf; a credit lies between 0 and 1",
    ),
    "a tie under a rule that splits it": (
        demo(rest='[credit]\nrule = "best-of"\ntie = 0.5'),
        '[credit]: tie is a credit with rule "pair" alone; write "share" or "lose"',
    ),
    "an empty section": (
        demo(rest="[sections]\nX = []"),
        "[sections]: X is empty; name its subsets or remove it",
    ),
    "an empty weighted section": (
        demo(rest="[sections]\nX = { subsets = [] }"),
        "[sections]: [X]: X is empty; name its subsets or remove it",
    ),
    "a section that is a text": (
        demo(rest='[sections]\nX = "x"'),
        "[sections]: X is a text; it must be a table",
    ),
    "a subset twice in a section": (
        demo(rest='[sections]\nX = ["x", "x"]'),
        "[sections]: X names something twice; name it once",
    ),
    "a weighted section without subsets": (
        demo(rest="[sections]\nX = { weights = { x = 1 } }"),
        "[sections]: [X]: subsets is missing; add it (a list)",
    ),
    "a section with an unknown key": (
        demo(rest='[sections]\nX = { subsets = ["x"], weight = { x = 1 } }'),
        '[sections]: [X]: unknown key "weight"; did you mean "weights"?',
    ),
    "a weight for no subset": (
        demo(rest='[sections]\nX = { subsets = ["math-prm"], weights = { math-prn = 1 } }'),
        '[sections]: [X]: [weights]: "math-prn" is not in subsets; did you mean "math-prm"?',
    ),
    "weight zero": (
        demo(rest='[sections]\nX = { subsets = ["x"], weights = { x = 0 } }'),
        "[sections]: [X]: [weights]: x = 0.0; it must be finite and above 0",
    ),
    "a weight below zero": (
        demo(rest='[sections]\nX = { subsets = ["x"], weights = { x = -1 } }'),
        "[sections]: [X]: [weights]: x = -1.0; it must be finite and above 0",
    ),
    "an infinite weight": (
        demo(rest='[sections]\nX = { subsets = ["x"], weights = { x = inf } }'),
        "[sections]: [X]: [weights]: x = inf; it must be finite and above 0",
    ),
    "a weight that is no number": (
        demo(rest='[sections]\nX = { subsets = ["x"], weights = { x = nan } }'),
        "[sections]: [X]: [weights]: x = nan; it must be finite and above 0",
    ),
    "a weight that is a text": (
        demo(rest='[sections]\nX = { subsets = ["x"], weights = { x = "1" } }'),
        "[sections]: [X]: [weights]: x is a text; it must be a number",
    ),
    "an average of another kind": (
        demo(rest='[averages]\nall = "rows"'),
        '[averages]: all = "rows"; known: comparisons',
    ),
    "an average that is a number": (
        demo(rest="[averages]\nall = 1"),
        "[averages]: all is a whole number; it must be a table",
    ),
    "an average of nothing": (
        demo(rest=SECTION_X + "[averages]\nall = { mean = [] }"),
        "[averages]: [all]: mean is empty; name the sections to average",
    ),
    "an average of an unknown section": (
        demo(rest='[sections]\nChat = ["x"]\n[averages]\nall = { mean = ["Chit"] }'),
        '[averages]: [all]: no section is called "Chit"; did you mean "Chat"?',
    ),
    "an average of sections without sections": (
        demo(rest='[averages]\nall = { mean = ["X"] }'),
        '[averages]: [all]: no section is called "X"; there is none',
    ),
    "an average without its sections": (
        demo(rest=SECTION_X + "[averages]\nall = { median = [] }"),
        "[averages]: [all]: mean is missing; add it (a list)",
    ),
    "an average called like a section": (
        demo(rest=SECTION_X + '[averages]\nX = "comparisons"'),
        '[averages]: "X" is a section too; give the average another name',
    ),
    "two averages and no headline": (
        demo(rest='[averages]\na = "comparisons"\nb = "comparisons"'),
        "[averages]: headline is missing; name the average that ranks",
    ),
    "a headline that is no average": (
        demo(rest='[averages]\npooled = "comparisons"\nheadline = "poled"'),
        '[averages]: headline = "poled"; did you mean "pooled"?',
    ),
    "a card that shows nothing": (
        demo(rest=SECTION_X + '[card]\n"RB" = "pool"'),
        '[card]: RB = "pool"; did you mean "pooled"?',
    ),
    "a card label that is a number": (
        demo(rest="[card]\nRB = 1"),
        "[card]: RB is a whole number; it must be a text",
    ),
}


@pytest.mark.parametrize(("text", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_a_wrong_suite_file_is_told_place_finding_and_remedy(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(SuiteError) as caught:
        load(tmp_path, text)
    assert str(caught.value) == f"{tmp_path / 'demo.toml'}: {message}"
    assert "\n" not in str(caught.value)


def test_a_suite_file_that_is_not_utf_8_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match=r"demo\.toml: not UTF-8: .* 0xff .*; convert the file$"):
        load(tmp_path, b'name = "\xff"')


def test_a_number_too_long_to_read_is_no_traceback(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match=r"not TOML: .*4300 digits.*; fix the syntax$"):
        load(tmp_path, demo(top=f"version = {'9' * 5000}"))


def test_a_suite_file_nested_without_end_is_no_traceback(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match=r"nested too deeply; a suite file has two levels$"):
        load(tmp_path, "x = " + "[" * 100_000)


def test_a_file_too_large_for_a_suite_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match="larger than 1000000 bytes; is it a suite file"):
        load(tmp_path, demo() + "#" * toml.MAX_FILE_BYTES)


def test_a_link_does_not_lead_out_of_the_folder(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "link").symlink_to(tmp_path)
    with pytest.raises(SuiteError, match="is not in the folder of the suite file"):
        load(inside, demo(source='path = "link/data.jsonl"'))


# --- finding one ---------------------------------------------------------------------------------


def test_a_misspelt_suite_is_told_the_nearest_one() -> None:
    with pytest.raises(SuiteError) as caught:
        load_suite("rewardbenhc")
    assert str(caught.value) == (
        'suite "rewardbenhc": no such suite; a suite of your own is given as a path that ends in'
        ' .toml; did you mean "rewardbench"?'
    )


def test_a_suite_unlike_any_other_is_told_all_of_them() -> None:
    with pytest.raises(SuiteError, match=f"known: {', '.join(list_suites())}$"):
        find_suite("???")


def test_a_suite_file_that_is_not_there_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(SuiteError) as caught:
        load_suite(str(tmp_path / "absent.toml"))
    assert str(caught.value) == (
        f"{tmp_path}/absent.toml: no such file; `rmbench suites list` names the bundled ones"
    )


def test_a_suite_file_whose_name_is_too_long_is_no_traceback() -> None:
    with pytest.raises(SuiteError, match=r"name too long; check path and rights$"):
        load_suite("x" * 300 + ".toml")


# --- the bundled ones ----------------------------------------------------------------------------


def test_the_bundled_suites_are_these() -> None:
    assert {"hh-rlhf", "mini", "rewardbench", "ultrafeedback"} <= set(list_suites())


@pytest.mark.parametrize("name", list_suites())
def test_a_bundled_suite_bears_its_file_name_a_title_and_a_source(name: str) -> None:
    suite = load_suite(name)
    assert suite.name == name
    assert suite.title not in ("", name)
    assert suite.reference or suite.license


@pytest.mark.parametrize("name", list_suites())
def test_no_subset_of_a_bundled_suite_stands_in_two_sections(name: str) -> None:
    if name == "judgebench":  # its groups are printed of each half and of both
        return
    subsets = [subset for section in load_suite(name).sections for subset in section.subsets]
    assert len(set(subsets)) == len(subsets)


def test_rewardbench_has_23_subsets_in_4_sections() -> None:
    sections = load_suite("rewardbench").sections
    assert {section.name: len(section.subsets) for section in sections} == REWARDBENCH_SECTIONS


def test_rewardbench_weighs_mathematics_like_the_six_code_subsets_together() -> None:
    *rest, reasoning = load_suite("rewardbench").sections
    assert reasoning.weights["math-prm"] == 984  # 6 languages of 164 tasks
    assert set(reasoning.weights) == set(reasoning.subsets)
    assert sum(reasoning.weights.values()) == 2 * 984
    assert not any(section.weights for section in rest)


def test_rewardbench_ranks_by_the_mean_of_its_sections_and_counts_ties_as_lost() -> None:
    suite = load_suite("rewardbench")
    averages = {average.name: average.sections for average in suite.averages}
    assert averages == {"pooled": (), "sections": tuple(REWARDBENCH_SECTIONS)}
    assert suite.headline == "sections"
    assert suite.credit == Credit(rule="pair", tie=0.0)
    assert (suite.source.path, suite.source.split) == ("allenai/reward-bench", "filtered")
    assert suite.source.comparisons == 2985
    assert suite.source.sha256 is not None


def test_rewardbench_and_ultrafeedback_fill_the_six_columns_of_the_model_card() -> None:
    assert load_suite("rewardbench").card == {
        "RB Chat": "Chat",
        "RB Chat Hard": "Chat Hard",
        "RB Safety": "Safety",
        "RB Reasoning": "Reasoning",
        "RB Average": "pooled",
    }
    assert load_suite("ultrafeedback").card == {"UFB": "pooled"}


def test_ultrafeedback_reads_the_cleaned_test_preferences_and_keeps_empty_responses() -> None:
    suite = load_suite("ultrafeedback")
    assert suite.source.path == "allenai/ultrafeedback_binarized_cleaned"
    assert (suite.source.split, suite.source.empty) == ("test_prefs", "keep")
    assert suite.headline == "pooled"


def test_hh_rlhf_reads_both_test_folders_in_both_shapes() -> None:
    suite = load_suite("hh-rlhf")
    assert suite.source.data_dirs == ("harmless-base", "helpful-base")
    assert [shape.transcript is not None for shape in suite.columns] == [False, True]


def test_mini_says_that_it_ranks_nothing() -> None:
    suite = load_suite("mini")
    assert "not for ranking" in suite.title
    assert [section.name for section in suite.sections] == list(REWARDBENCH_SECTIONS)


# --- errors --------------------------------------------------------------------------------------


def test_a_message_stays_one_line_whatever_names_it_quotes() -> None:
    error = RmbenchError('x: column "a\nb\u2028c\x1b[31m\ud800é" is null')
    assert str(error) == 'x: column "a\\nb\\u2028c\\x1b[31m\\ud800é" is null'


def test_an_unknown_name_among_many_is_told_only_some_of_them() -> None:
    remedy = did_you_mean("?", [f"{number:03}" for number in range(MAX_NAMES + 12)])
    assert remedy.startswith("known: 000, 001, ")
    assert remedy.endswith(", 029 and 12 more")


def test_rows_given_as_a_suite_are_told_their_command(tmp_path: Path) -> None:
    (tmp_path / "pairs.jsonl").write_text("{}\n")
    with pytest.raises(SuiteError, match=r"rows, not a suite file; `rmbench run --model M .*pairs"):
        load_suite(str(tmp_path / "pairs.jsonl"))
