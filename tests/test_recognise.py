"""Rows without a suite file: recognised where one reading is possible, asked for where two are."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from rmbench.cli import main
from rmbench.errors import DataError
from rmbench.suite.catalogue import load_suite
from rmbench.suite.feed import open_feed
from rmbench.suite.recognise import recognise, to_toml

Fields = dict[str, Any]


def turns(answer: str) -> list[Fields]:
    return [{"role": "user", "content": "q"}, {"role": "assistant", "content": answer}]


def write(folder: Path, *rows: Fields, name: str = "pairs.jsonl") -> str:
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(folder / name)


def sides(place: str) -> list[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    feed = open_feed(recognise(place).suite, data=place)
    return [(pair.prompt[-1].content, pair.chosen, pair.rejected) for pair in feed]


GOOD: dict[str, tuple[list[Fields], tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "texts": ([{"prompt": "q", "chosen": "g", "rejected": "b"}], (("g",), ("b",))),
    "another name of the prompt": (
        [{"instruction": "q", "chosen_response": "g", "rejected_response": "b"}],
        (("g",), ("b",)),
    ),
    "TRL's implicit prompt": ([{"chosen": turns("g"), "rejected": turns("b")}], (("g",), ("b",))),
    "the same beside a prompt": (
        [{"prompt": "q", "chosen": turns("g"), "rejected": turns("b")}],
        (("g",), ("b",)),
    ),
    "transcripts": (
        [
            {
                "chosen": "\n\nHuman: q\n\nAssistant: g",
                "rejected": "\n\nHuman: q\n\nAssistant: b",
            }
        ],
        (("g",), ("b",)),
    ),
    "best of a list": (
        [{"prompt": "q", "chosen": "g", "rejected": ["b", "c"]}],
        (("g",), ("b", "c")),
    ),
    "a label": (
        [
            {"prompt": "q", "response_a": "b", "response_b": "g", "winner": "model_b"},
            {"prompt": "q", "response_a": "g", "response_b": "b", "winner": "model_a"},
            {"prompt": "q", "response_a": "x", "response_b": "y", "winner": "tie (both bad)"},
        ],
        (("g",), ("b",)),
    ),
    "a number of the better one": (
        [
            {"prompt": "q", "output_1": "b", "output_2": "g", "preference": 2},
            {"prompt": "q", "output_1": "g", "output_2": "b", "preference": 1},
        ],
        (("g",), ("b",)),
    ),
    "ratings": (
        [
            {"prompt": "q", "answer_a": "b", "answer_b": "g", "score_a": 1.5, "score_b": 2},
            {"prompt": "q", "answer_a": "x", "answer_b": "y", "score_a": 2, "score_b": 2},
        ],
        (("g",), ("b",)),
    ),
}


@pytest.mark.parametrize(("rows", "expected"), GOOD.values(), ids=GOOD)
def test_common_shapes_are_recognised(
    rows: list[Fields], expected: tuple[tuple[str, ...], tuple[str, ...]], tmp_path: Path
) -> None:
    found = sides(write(tmp_path, *rows))
    assert found == [("q", *expected)] * len(found)


ASKED: dict[str, tuple[Fields, str]] = {
    "two pairs of sides": (
        {"prompt": "q", "chosen": "g", "rejected": "b", "response_a": "g", "response_b": "b"},
        'two readings: "chosen" and "rejected"; or "response_a" and "response_b"',
    ),
    "labels of 0 and 1": (
        {"prompt": "q", "response_a": "g", "response_b": "b", "label": 0},
        'which response does 0 in "label" mean',
    ),
    "no label": ({"prompt": "q", "a": "g", "b": "b"}, "is preferred? no column may say so"),
    "two labels": (
        {"prompt": "q", "a": "g", "b": "b", "winner": "a", "vote": "b"},
        "is preferred? winner, vote may say so",
    ),
    "two prompts": (
        {"instruction": "q", "input": "r", "chosen": "g", "rejected": "b"},
        "two columns may be the prompt (instruction, input)",
    ),
    "no prompt": ({"chosen": "g", "rejected": "b"}, "no prompt (it has chosen, rejected)"),
    "no sides": ({"text": "q"}, "no two sides among its columns (it has text)"),
}


@pytest.mark.parametrize(("row", "finding"), ASKED.values(), ids=ASKED)
def test_what_can_be_read_in_two_ways_is_asked_about(
    row: Fields, finding: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError) as error:
        recognise(write(tmp_path, row))
    assert finding in str(error.value)
    assert str(error.value).endswith("`rmbench suites new ROWS` writes a draft")


def test_rows_named_like_a_bundled_suite_are_not_it(tmp_path: Path) -> None:
    place = write(tmp_path, GOOD["texts"][0][0], name="rewardbench.jsonl")
    assert recognise(place).suite.name == "own-rewardbench"


@pytest.mark.parametrize("kind", ["a label", "transcripts", "best of a list"])
def test_the_file_that_new_writes_is_the_same_suite_pinned(kind: str, tmp_path: Path) -> None:
    place = write(tmp_path, *GOOD[kind][0])
    file = tmp_path / "pairs.toml"
    result = CliRunner().invoke(main, ["suites", "new", place, "--output", str(file)])
    assert result.exit_code == 0, result.output
    found = open_feed(load_suite(str(file)))
    assert found.suite.source.sha256 == found.contents.sha256
    assert [pair.canonical() for pair in found] == [
        pair.canonical() for pair in open_feed(recognise(place).suite, data=place)
    ]


def test_a_suite_file_keeps_what_toml_would_obey() -> None:
    text = to_toml({"name": "a", "columns": {"chosen": 'x"\n[credit]', "skip": {"a": [1]}}})
    assert text == 'name = "a"\n\n[columns]\nchosen = "x\\"\\n[credit]"\nskip = { a = [1] }\n'


def test_own_rows_are_scored_in_one_command(tmp_path: Path) -> None:
    rows = [{"prompt": f"q{i}", "chosen": "longer", "rejected": "no"} for i in range(5)]
    place = write(tmp_path, *rows)
    args = ["run", "--model", "length", place, "--output", str(tmp_path / "out")]
    result = CliRunner().invoke(main, args)
    assert result.exit_code == 0, result.output
    assert 'read as prompt "prompt", chosen "chosen", rejected "rejected"' in result.stderr
    record = json.loads((tmp_path / "out" / "pairs" / "length.json").read_text())
    assert record["averages"]["pooled"]["accuracy"] == 1.0
    both = CliRunner().invoke(main, [*args, "--suite", "mini"])
    assert both.exit_code == 2
    assert "leave --suite out" in both.stderr


def test_a_model_in_the_place_of_rows_is_told_its_option() -> None:
    result = CliRunner().invoke(main, ["run", "tiny"])
    assert result.exit_code == 2
    assert result.stderr == (
        "rmbench: tiny: no such file or folder of rows; check the path (a model is given with"
        " --model)\n"
    )


def test_rows_that_are_not_recognised_get_a_draft(tmp_path: Path) -> None:
    rows = write(tmp_path, {"question": "q", "good": "a"})
    result = CliRunner().invoke(main, ["suites", "new", rows])
    assert result.exit_code == 0
    assert "there are question, good" in result.stdout
    assert 'prompt = "question"' in result.stdout
    assert "this is a draft" in result.stderr


def test_empty_texts_of_own_rows_are_kept_and_counted(tmp_path: Path) -> None:
    file = tmp_path / "own.jsonl"
    rows = [{"prompt": "p", "chosen": "a", "rejected": word} for word in ("b", "", "c")]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = recognise(str(file))
    assert open_feed(found.suite, data=str(file)).contents.audit["empty"] == 1
    assert found.content["source"]["empty"] == "keep"
