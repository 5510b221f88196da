"""Rows become comparisons, or an error that names the row."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rmbench.errors import DataError, RmbenchError, SuiteError
from rmbench.suite.catalogue import load_suite
from rmbench.suite.comparison import Comparison, Message
from rmbench.suite.definition import Columns, Credit, Section, Source, Suite, Transcript
from rmbench.suite.feed import Feed, open_feed

Content = list[dict[str, Any]]

TEXTS = Columns(id=("id",), subset="subset", prompt="prompt", chosen="chosen", rejected="rejected")
BARE = Columns(prompt="prompt", chosen="chosen", rejected="rejected")
SIDES = Columns(chosen="chosen", rejected="rejected")
SCORED = TEXTS.model_copy(update={"scores": ("good_score", "bad_score")})
MARKS = Transcript(user="\n\nHuman: ", assistant="\n\nAssistant: ")
TRANSCRIPTS = SIDES.model_copy(update={"transcript": MARKS})

# How long an example takes on a busy machine is no property of the data.
PATIENT = settings(deadline=None, max_examples=40)


def suite(*columns: Columns, rule: str = "pair", sections: Any = (), **source: Any) -> Suite:
    return Suite(
        name="demo",
        title="Demo",
        version=1,
        source=Source(**({"path": "org/name"} | source)),
        columns=columns or (TEXTS,),
        credit=Credit(rule=rule, several=rule == "best-of"),
        sections=tuple(Section(name=name, subsets=names) for name, names in dict(sections).items()),
        averages=(),
        headline="pooled",
        folder=Path("suites"),
    )


def row(number: int = 1, **fields: Any) -> dict[str, Any]:
    """Return a row that is right wherever a test does not say otherwise."""
    texts = {"prompt": f"prompt {number}", "chosen": f"good {number}", "rejected": f"bad {number}"}
    return {"id": number, "subset": "a"} | texts | fields


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in row(2).items() if key != name}


def write(folder: Path, rows: Iterable[Any]) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(item) + "\n" for item in rows))
    return path


def feed(folder: Path, rows: Content, made: Suite | None = None, **options: Any) -> Feed:
    return open_feed(made or suite(), data=str(write(folder, rows)), **options)


def only(folder: Path, fields: dict[str, Any], made: Suite) -> Comparison:
    (comparison,) = feed(folder, [fields], made)
    return comparison


def failure(folder: Path, rows: Content, made: Suite | None = None) -> str:
    with pytest.raises(RmbenchError) as caught:
        feed(folder, rows, made)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def turns(*contents: str) -> list[dict[str, str]]:
    """Return messages, user and assistant in turn."""
    return [
        {"role": ("user", "assistant")[number % 2], "content": content}
        for number, content in enumerate(contents)
    ]


def transcript(*contents: str) -> str:
    marks = (MARKS.user, MARKS.assistant)
    return "".join(marks[number % 2] + content for number, content in enumerate(contents))


# --- shapes --------------------------------------------------------------------------------------


def test_a_prompt_that_is_a_text_is_one_user_turn(tmp_path: Path) -> None:
    assert list(feed(tmp_path, [row(1)])) == [
        Comparison(
            id="a/1",
            subset="a",
            prompt=(Message("user", "prompt 1"),),
            chosen=("good 1",),
            rejected=("bad 1",),
        )
    ]


def test_a_prompt_may_be_messages(tmp_path: Path) -> None:
    messages = [{"role": "system", "content": "s"}, *turns("u", "v", "w")]
    comparison = only(tmp_path, row(prompt=messages), suite())
    roles = ["system", "user", "assistant", "user"]
    assert [message.role for message in comparison.prompt] == roles
    assert [message.content for message in comparison.prompt] == ["s", "u", "v", "w"]


def test_what_a_message_holds_beside_role_and_content_is_kept(tmp_path: Path) -> None:
    message = {"role": "user", "content": "u", "name": "x", "tools": [1], "weight": None}
    (kept,) = only(tmp_path, row(prompt=[message]), suite()).prompt
    assert kept == Message("user", "u", '{"name": "x", "tools": [1]}')
    assert kept.fields == {"role": "user", "content": "u", "name": "x", "tools": [1]}


CALL = {"type": "function", "function": {"name": "weather", "arguments": {"city": "Oslo"}}}
TEXT_PARTS = [{"type": "text", "text": "u"}, {"type": "text", "text": "v", "image_url": None}]


@pytest.mark.parametrize(
    "prompt",
    [
        [{"role": "user", "content": TEXT_PARTS}],
        [{"from": "human", "value": "uv", "weight": 1}],
        json.dumps([{"role": "user", "content": "uv"}]),
        json.dumps({"role": "user", "content": "uv"}),
    ],
)
def test_messages_are_read_in_every_shape_that_data_sets_have_them_in(
    prompt: Any, tmp_path: Path
) -> None:
    assert only(tmp_path, row(prompt=prompt), suite()).prompt == (Message("user", "uv"),)


@pytest.mark.parametrize(
    "text", ['[{"a": 1}]', "[1, 2]", "{'x': 'y'}", '[{"role": 1}]', "[", "{}", '[{"role": "a"}]']
)
def test_a_text_that_only_looks_like_messages_stays_a_text(text: str, tmp_path: Path) -> None:
    assert only(tmp_path, row(prompt=text), suite()).prompt == (Message("user", text),)


def test_answers_that_differ_in_the_call_of_a_tool_are_two(tmp_path: Path) -> None:
    other = {"type": "function", "function": {"name": "weather", "arguments": {"city": "Rome"}}}
    sides = {
        "chosen": [{"role": "assistant", "content": "Let me look.", "tool_calls": [CALL]}],
        "rejected": [{"role": "assistant", "content": "Let me look.", "tool_calls": [other]}],
    }
    opened = feed(tmp_path, [row(**sides)])
    assert opened.contents.audit["identical_responses"] == 0
    good, bad = next(iter(opened)).conversations()
    assert good.messages[-1] == sides["chosen"][0]
    assert bad.messages[-1] == sides["rejected"][0]
    assert good != bad
    assert list(good.texts) != list(bad.texts)
    assert "Oslo" in good.response


def test_the_call_of_a_tool_needs_no_content_and_its_result_may_end_the_prompt(
    tmp_path: Path,
) -> None:
    prompt = [
        {"role": "user", "content": "u"},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "name": "weather", "content": "4 degrees"},
    ]
    comparison = only(tmp_path, row(prompt=prompt), suite())
    assert [message.fields for message in comparison.prompt] == prompt
    assert next(comparison.conversations()).messages[:3] == prompt


def test_what_a_column_fills_with_null_is_no_part_of_a_message(tmp_path: Path) -> None:
    wide = {"role": "user", "content": "u", "name": None, "tool_calls": None}
    deep = {"role": "assistant", "content": "", "tool_calls": [CALL | {"id": None}]}
    plain = {"role": "assistant", "content": "", "tool_calls": [CALL]}
    made = suite(BARE)
    first = only(tmp_path, {"prompt": [wide], "chosen": [deep], "rejected": "no"}, made)
    second = only(tmp_path, {"prompt": "u", "chosen": [plain], "rejected": "no"}, made)
    assert first.canonical() == second.canonical()


def test_sides_that_are_messages_share_the_prompt(tmp_path: Path) -> None:
    fields = {"chosen": turns("u", "v", "w", "good"), "rejected": turns("u", "v", "w", "bad")}
    comparison = only(tmp_path, fields, suite(SIDES, split="test"))
    assert [message.content for message in comparison.prompt] == ["u", "v", "w"]
    assert (comparison.chosen, comparison.rejected) == (("good",), ("bad",))
    assert comparison.id == "test/0"


@pytest.mark.parametrize("before", [[], turns("prompt")])
def test_beside_a_prompt_a_side_may_be_messages_with_or_without_it(
    tmp_path: Path, before: list[dict[str, str]]
) -> None:
    chosen = [*before, {"role": "assistant", "content": "good"}]
    comparison = only(tmp_path, row(prompt="prompt", chosen=chosen), suite())
    assert comparison.prompt == (Message("user", "prompt"),)
    assert (comparison.chosen, comparison.rejected) == (("good",), ("bad 1",))


def test_several_responses_make_one_comparison(tmp_path: Path) -> None:
    made = suite(rule="best-of")
    opened = feed(tmp_path, [row(chosen=["x", "y"], rejected=["p", "q", "r"])], made)
    (comparison,) = opened
    assert (comparison.chosen, comparison.rejected) == (("x", "y"), ("p", "q", "r"))
    assert opened.contents.sides == [(2, 3)]
    assert opened.num_conversations == 5


def test_a_list_of_one_response_is_a_pair(tmp_path: Path) -> None:
    comparison = only(tmp_path, row(chosen=["x"], rejected=["y"]), suite())
    assert (comparison.chosen, comparison.rejected) == (("x",), ("y",))


def test_the_first_shape_whose_columns_are_there_is_used(tmp_path: Path) -> None:
    made = suite(TEXTS, SIDES, split="test")
    assert only(tmp_path, row(), made).id == "a/1"
    sides = {"chosen": turns("u", "good"), "rejected": turns("u", "bad")}
    assert only(tmp_path, sides, made).id == "test/0"


# --- ids and subsets -----------------------------------------------------------------------------


def test_an_id_begins_with_its_subset_once(tmp_path: Path) -> None:
    rows = [row(1), row(2, id="a/2"), row(3, id="3", subset="b"), row(4, subset=7)]
    assert feed(tmp_path, rows).contents.ids == ["a/1", "a/2", "b/3", "7/4"]


def test_columns_of_an_id_are_joined(tmp_path: Path) -> None:
    columns = TEXTS.model_copy(update={"id": ("subset", "id")})
    assert feed(tmp_path, [row(1)], suite(columns)).contents.ids == ["a/1"]


def test_without_a_subset_column_the_split_names_the_subset_else_the_suite(tmp_path: Path) -> None:
    assert feed(tmp_path, [row()], suite(BARE, split="test")).contents.ids == ["test/0"]
    assert feed(tmp_path, [row()], suite(BARE)).contents.ids == ["demo/0"]


def test_without_an_id_column_rows_are_numbered_within_their_data_folder(tmp_path: Path) -> None:
    for name in ("x", "y"):
        (tmp_path / name).mkdir()
        write(tmp_path / name, [row(1), row(2)])
    opened = open_feed(suite(BARE, data_dirs=("y", "x"), split="s"), data=str(tmp_path))
    assert opened.contents.ids == ["y/0", "y/1", "x/0", "x/1"]
    assert opened.contents.subsets == ["y", "y", "x", "x"]


# --- rows that are wrong -------------------------------------------------------------------------

BROKEN: dict[str, tuple[Any, Suite, str]] = {
    "null": (
        row(2, chosen=None),
        suite(),
        'column "chosen" is null; every row needs it',
    ),
    "a missing column": (
        without("rejected"),
        suite(),
        'column "rejected" is missing; every row needs it',
    ),
    "a missing id": (without("id"), suite(), 'column "id" is missing; every row needs it'),
    "an id in two rows": (
        row(2, id=1),
        suite(),
        'id "a/1" is in an earlier row too; ids must be unique',
    ),
    "an id in two rows, once with its subset": (
        row(2, id="a/1"),
        suite(),
        'id "a/1" is in an earlier row too; ids must be unique',
    ),
    "an id that is a list": (
        row(2, id=[1]),
        suite(),
        'column "id" is list; it must be a text or an integer',
    ),
    "an id that is true": (
        row(2, id=True),
        suite(),
        'column "id" is bool; it must be a text or an integer',
    ),
    "an id with a fraction": (
        row(2, id=2.0),
        suite(),
        'column "id" is float; it must be a text or an integer',
    ),
    "a blank subset": (
        row(2, subset=" "),
        suite(),
        'column "subset" is empty; every row needs a name there',
    ),
    "an empty prompt": (
        row(2, prompt=""),
        suite(),
        'empty text in prompt or response; remove the row, or set empty = "keep" in [source]',
    ),
    "a blank response": (
        row(2, rejected=" \n"),
        suite(),
        'empty text in prompt or response; remove the row, or set empty = "keep" in [source]',
    ),
    "an empty turn": (
        row(2, prompt=turns("u", "", "w")),
        suite(),
        'empty text in prompt or response; remove the row, or set empty = "keep" in [source]',
    ),
    "a response that is a number": (
        row(2, chosen=3),
        suite(),
        'column "chosen" is int; it must be a text, a list of texts, or a list of messages',
    ),
    "responses of mixed types": (
        row(2, chosen=["x", {"role": "assistant", "content": "y"}]),
        suite(),
        'column "chosen" is a list of dict and str;'
        " it must be a text, a list of texts, or a list of messages",
    ),
    "a null among responses": (
        row(2, rejected=["x", None]),
        suite(),
        'column "rejected" is a list of NoneType and str;'
        " it must be a text, a list of texts, or a list of messages",
    ),
    "no response at all": (
        row(2, rejected=[]),
        suite(),
        'column "rejected" is an empty list;'
        " it must be a text, a list of texts, or a list of messages",
    ),
    "a prompt of texts": (
        row(2, prompt=["u"]),
        suite(),
        'column "prompt" is a list of str; it must be a text or a list of messages',
    ),
    "a prompt without turns": (
        row(2, prompt=[]),
        suite(),
        'column "prompt" is an empty list; it must be a text or a list of messages',
    ),
    "a message without a role": (
        row(2, prompt=[{"content": "u"}]),
        suite(),
        'column "prompt": a message needs role and content texts',
    ),
    "a message with an empty role": (
        row(2, prompt=[{"role": "", "content": "u"}]),
        suite(),
        'column "prompt": a message needs role and content texts',
    ),
    "a message with a picture": (
        row(2, prompt=[{"role": "user", "content": [{"type": "image", "url": "u"}]}]),
        suite(),
        'content is a list with a part of type "image"; only text is scored',
    ),
    "a message without content": (
        row(2, prompt=[{"role": "user", "content": None}]),
        suite(),
        "this one has no content and calls no tool",
    ),
    "messages as Python shows them": (
        row(2, prompt="[{'role': 'user', 'content': \"it's\"}]"),
        suite(),
        "messages as Python shows them, not as data; write the column as lists, or as JSON",
    ),
    "messages as an array of numpy shows them": (
        row(2, chosen="[{'content': 'u', 'role': 'user'}\n {'content': 'v', 'role': 'assistant'}]"),
        suite(),
        "messages as Python shows them, not as data; write the column as lists, or as JSON",
    ),
    "a turn of ShareGPT from nobody known": (
        row(2, prompt=[{"from": "function_call", "value": "u"}]),
        suite(),
        'a ShareGPT turn from "function_call"; known: human, user, gpt',
    ),
    "a prompt that ends with the assistant": (
        row(2, prompt=turns("u", "v")),
        suite(),
        'the prompt ends with the role "assistant"; it must end with "user",'
        ' or with the result of a tool ("tool")',
    ),
    "a response from the user": (
        row(2, chosen=turns("u", "v", "w")),
        suite(),
        'the last message of "chosen" is from "user"; the response must be the assistant\'s',
    ),
    "messages before the response that are not the prompt": (
        row(2, chosen=turns("other", "good")),
        suite(),
        'the messages before the last of "chosen" are not the prompt; both sides must share it',
    ),
    "sides with different prompts": (
        {"chosen": turns("u", "good"), "rejected": turns("v", "bad")},
        suite(SIDES),
        'the messages before the last of "rejected" are not the prompt; both sides must share it',
    ),
    "one side without the prompt": (
        {"chosen": turns("u", "good"), "rejected": turns("v", "bad")[1:]},
        suite(SIDES),
        'the messages before the last of "rejected" are not the prompt; both sides must share it',
    ),
    "both sides without a prompt": (
        {"chosen": turns("u", "good")[1:], "rejected": turns("u", "bad")[1:]},
        suite(SIDES),
        "the prompt has no message; it needs a user turn",
    ),
    "texts where the prompt is to be found in them": (
        {"chosen": turns("u", "good"), "rejected": "bad"},
        suite(SIDES),
        'column "rejected" must hold messages, since [columns] names no prompt;'
        " name the prompt's column",
    ),
    "two chosen responses in a suite of pairs": (
        row(2, chosen=["x", "y"]),
        suite(),
        '2 chosen and 1 rejected responses; rule "pair" needs one of each, "best-of" takes several',
    ),
    "half a surrogate pair": (
        row(2, chosen="x\ud83dy"),
        suite(),
        "text with half a surrogate pair; fix the text",
    ),
    "half a surrogate pair in an id": (
        row(2, id="\udc00"),
        suite(),
        "text with half a surrogate pair; fix the text",
    ),
    "transcripts that share no prompt": (
        {"chosen": transcript("u", "good"), "rejected": transcript("v", "bad")},
        suite(TRANSCRIPTS),
        "the two transcripts share no prompt; remove the row",
    ),
    "a transcript that is no text": (
        {"chosen": turns("u", "good"), "rejected": transcript("v", "bad")},
        suite(TRANSCRIPTS),
        "a transcript must be a text; check [columns]",
    ),
}


@pytest.mark.parametrize(
    ("chosen", "rejected", "beside", "is_open"),
    [
        ("response_a", "response_b", "winner", True),
        ("answer1", "answer2", "preference", True),
        ("responseA", "responseB", "label", True),
        ("response_a", "response_b", "topic", False),
        ("chosen", "rejected", "label", False),
        ("response_a", "answer_b", "winner", False),
    ],
)
def test_columns_told_apart_by_place_beside_a_verdict_are_asked_about(
    chosen: str, rejected: str, beside: str, is_open: bool, tmp_path: Path
) -> None:
    made = suite(Columns(prompt="prompt", chosen=chosen, rejected=rejected))
    fields = {"prompt": "u", chosen: "good", rejected: "bad", beside: "b"}
    if is_open:
        found = failure(tmp_path, [fields], made)
        assert found.startswith(f"{tmp_path}/rows.jsonl, row 1: ")
        assert f'"{beside}" stands beside them: which side is preferred?' in found
    else:
        assert only(tmp_path, fields, made).chosen == ("good",)


SOUND = {
    "chosen": turns("u", "good"),
    "rejected": turns("u", "bad"),
}


@pytest.mark.parametrize(("wrong", "made", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_a_wrong_row_is_told_place_finding_and_remedy(
    tmp_path: Path, wrong: dict[str, Any], made: Suite, message: str
) -> None:
    first: dict[str, Any] = row(1)
    if made.columns[0].transcript is not None:
        first = {"chosen": transcript("u", "good"), "rejected": transcript("u", "bad")}
    elif made.columns[0].prompt is None:
        first = SOUND
    found = failure(tmp_path, [first, wrong], made)
    assert found.startswith(f"{tmp_path}/rows.jsonl, row 2: ")
    assert message in found


def test_the_last_row_is_checked_before_the_first_is_given(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="row 300: column"):
        feed(tmp_path, [*(row(number) for number in range(299)), row(chosen=None)])


def test_rows_that_fit_no_shape_are_told_what_the_first_shape_lacks(tmp_path: Path) -> None:
    assert failure(tmp_path, [{"question": "q", "chosen": "c"}], suite(TEXTS, SIDES)) == (
        f'{tmp_path}/rows.jsonl, row 1: no column "id"; it has question, chosen;'
        " rename the columns, write a suite file with other [columns] (`rmbench suites new`), or"
        " give the file the suffix of its format"
    )


# --- empty texts and counts ----------------------------------------------------------------------


def test_empty_texts_are_kept_and_counted_where_the_suite_says_so(tmp_path: Path) -> None:
    rows = [row(1, chosen=""), row(2), row(3, rejected=" "), row(4, chosen="", rejected="x")]
    opened = feed(tmp_path, rows, suite(empty="keep"))
    assert opened.contents.audit == {"identical_responses": 0, "duplicates": 0, "empty": 3}
    assert next(iter(opened)).chosen == ("",)


def test_comparisons_with_identical_responses_are_counted(tmp_path: Path) -> None:
    rows = [
        row(1, chosen="x", rejected="x"),
        row(2, chosen=["x", "y"], rejected=["z", "y"]),
        row(3, chosen="x", rejected="X"),
    ]
    audit = feed(tmp_path, rows, suite(rule="best-of")).contents.audit
    assert audit == {"identical_responses": 2, "duplicates": 0, "empty": 0}


def test_comparisons_that_repeat_an_earlier_one_are_counted(tmp_path: Path) -> None:
    same = {"prompt": "p", "chosen": "c", "rejected": "r"}
    rows = [row(1, **same), row(2, **same), row(3, **same, subset="b"), row(4, **same | {"id": 9})]
    rows += [row(5, prompt="p", chosen="r", rejected="c")]
    audit = feed(tmp_path, rows).contents.audit
    assert audit == {"identical_responses": 0, "duplicates": 3, "empty": 0}


def scored(number: int, chosen: Any, rejected: Any) -> dict[str, Any]:
    return row(number, good_score=chosen, bad_score=rejected)


def test_comparisons_whose_sides_were_scored_the_same_are_counted(tmp_path: Path) -> None:
    rows = [scored(1, 7, 7.0), scored(2, 8.5, 8), scored(3, "6.5", "6.50"), scored(4, 1, 5)]
    assert feed(tmp_path, rows, suite(SCORED)).contents.audit["equal_scores"] == 2
    part = feed(tmp_path, rows, suite(SCORED), limit=2)  # the first and the third
    assert part.contents.audit["equal_scores"] == 2
    assert feed(tmp_path, rows, suite(SCORED), limit=1).contents.audit["equal_scores"] == 1


def test_rows_without_two_scores_are_not_counted(tmp_path: Path) -> None:
    rows = [row(1), scored(2, None, None), scored(3, "", ""), scored(4, 2, None)]
    assert feed(tmp_path, rows, suite(SCORED)).contents.audit["equal_scores"] is None
    rows += [scored(5, 3, 4)]
    assert feed(tmp_path, rows, suite(SCORED)).contents.audit["equal_scores"] == 0


def test_scores_are_no_part_of_what_a_suite_is_pinned_by(tmp_path: Path) -> None:
    plain = feed(tmp_path, [row(1)]).contents
    assert "equal_scores" not in plain.audit
    assert feed(tmp_path, [scored(1, 2, 2)], suite(SCORED)).contents.sha256 == plain.sha256


@pytest.mark.parametrize("value", [True, "good", [7], {"score": 7}])
def test_a_score_that_is_no_number_is_refused(value: Any, tmp_path: Path) -> None:
    assert failure(tmp_path, [scored(1, 1, 2), scored(2, value, 7)], suite(SCORED)).endswith(
        'row 2: column "good_score" is no number; [columns] names it as a score: fix it, or take'
        " it out of [columns]"
    )


# --- the suite against its data ------------------------------------------------------------------


def refusal(folder: Path, rows: Content, made: Suite) -> str:
    with pytest.raises((DataError, SuiteError)) as caught:
        feed(folder, rows, made)
    return str(caught.value)


def test_no_rows_are_no_suite(tmp_path: Path) -> None:
    assert refusal(tmp_path, [], suite()) == (
        'suite "demo" on rows.jsonl: no comparisons; check the file and the split'
    )


def test_another_number_of_comparisons_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path, [row()], suite(comparisons=2)) == (
        'suite "demo" on rows.jsonl: 1 comparisons where [source] says 2;'
        " the data has changed, or it is another split or revision"
    )


def test_other_texts_than_the_suite_s_are_refused(tmp_path: Path) -> None:
    line = (
        '{"id":"a/1","subset":"a","prompt":[["user","prompt 1"]],'
        '"chosen":["good 1"],"rejected":["bad 1"]}\n'
    )
    digest = hashlib.sha256(line.encode()).hexdigest()
    made = suite(sha256=digest)
    assert feed(tmp_path, [row()], made).contents.sha256 == digest
    other = hashlib.sha256(line.replace("good", "Good").encode()).hexdigest()
    assert refusal(tmp_path, [row(chosen="Good 1")], made) == (
        f'suite "demo" on rows.jsonl: sha256 {other} where [source] says {digest};'
        " the texts or their order differ from the suite's, so numbers would not be comparable;"
        " take the data set as it is published"
    )


def test_a_section_without_rows_is_refused(tmp_path: Path) -> None:
    made = suite(sections={"Chat": ("chat", "chat-hard"), "Code": ("code",)})
    rows = [row(1, subset="chat"), row(2, subset="code")]
    assert refusal(tmp_path, rows, made) == (
        'suite "demo" on rows.jsonl: [sections] Chat names "chat-hard", which no row has;'
        ' did you mean "chat"?'
    )


def test_rows_without_a_section_are_refused(tmp_path: Path) -> None:
    rows = [row(1), row(2, subset="z"), row(3, subset="b")]
    assert refusal(tmp_path, rows, suite(sections={"A": ("a",)})) == (
        f'{tmp_path / "rows.jsonl"}, row 2: subset "z" is in no section of the suite "demo";'
        " known: a"
    )


def test_subsets_that_nest_are_refused_where_an_id_fits_two(tmp_path: Path) -> None:
    rows = [row(1, subset="a/b"), row(2, id="b/2", subset="a")]
    assert refusal(tmp_path, rows, suite()) == (
        'suite "demo" on rows.jsonl: id "a/b/2" fits two subsets; rename one of them'
    )


def test_subsets_that_nest_are_fine_while_every_id_fits_one(tmp_path: Path) -> None:
    rows = [row(1, subset="a/b"), row(2, subset="a"), row(3, id="c/3", subset="a")]
    assert feed(tmp_path, rows).contents.ids == ["a/b/1", "a/2", "a/c/3"]


# --- partial runs, and reading twice -------------------------------------------------------------


def test_a_limit_spreads_evenly_over_the_suite(tmp_path: Path) -> None:
    rows = [row(number) for number in range(10)]
    opened = feed(tmp_path, rows, limit=4)
    assert opened.indices == [0, 2, 5, 7]  # floor(i * 10 / 4)
    assert [item.id for item in opened] == opened.contents.ids == ["a/0", "a/2", "a/5", "a/7"]
    assert opened.contents.subsets == ["a"] * 4
    assert opened.num_conversations == 8
    assert opened.contents.sha256 == feed(tmp_path, rows).contents.sha256


def test_a_part_is_audited_for_itself(tmp_path: Path) -> None:
    rows = [row(number) for number in range(8)]
    rows[1]["rejected"] = rows[1]["chosen"]  # not in the part
    rows[4]["rejected"] = rows[4]["chosen"]  # in it
    assert feed(tmp_path, rows).contents.audit["identical_responses"] == 2
    opened = feed(tmp_path, rows, limit=4)
    assert opened.contents.audit == {"identical_responses": 1, "duplicates": 0, "empty": 0}


@given(total=st.integers(1, 60), limit=st.integers(1, 60))
@PATIENT
def test_a_limit_never_gives_more_than_there_is_or_leaves_a_wide_gap(
    total: int, limit: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        opened = feed(Path(folder), [row(number) for number in range(total)], limit=limit)
    if limit >= total:
        assert opened.indices is None
        return
    assert opened.indices is not None
    assert len(set(opened.indices)) == limit
    steps = {b - a for a, b in zip(opened.indices, [*opened.indices[1:], total], strict=True)}
    assert max(steps) - min(steps) <= 1


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_below_one_is_refused(tmp_path: Path, limit: int) -> None:
    with pytest.raises(SuiteError) as caught:
        feed(tmp_path, [row()], limit=limit)
    assert str(caught.value) == f'suite "demo": limit = {limit}; it must be 1 or more'


def test_comparisons_can_be_read_as_often_as_wanted(tmp_path: Path) -> None:
    opened = feed(tmp_path, [row(1), row(2)])
    assert [item.id for item in opened] == [item.id for item in opened] == ["a/1", "a/2"]


@pytest.mark.parametrize(
    "later",
    [
        [row(1), row(2), row(3)],
        [row(1)],
        [row(2), row(1)],
        [row(1), row(2, chosen="another text")],
        [],
    ],
)
@pytest.mark.parametrize("limit", [None, 1])
def test_data_that_changes_between_two_readings_is_told_so(
    tmp_path: Path, later: Content, limit: int | None
) -> None:
    opened = feed(tmp_path, [row(1), row(2)], limit=limit)
    write(tmp_path, later)
    with pytest.raises(DataError) as caught:
        list(opened)
    assert str(caught.value) == "rows.jsonl: the data changed while it was read; run again"


# --- transcripts ---------------------------------------------------------------------------------


def test_a_regular_transcript_splits_into_turns(tmp_path: Path) -> None:
    fields = {
        "chosen": transcript("u\n\nHumans too", "v", "w ", " good\n"),
        "rejected": transcript("u\n\nHumans too", "v", "w ", ""),
    }
    comparison = only(tmp_path, fields, suite(TRANSCRIPTS, empty="keep", split="test"))
    assert comparison.prompt == (
        Message("user", "u\n\nHumans too"),
        Message("assistant", "v"),
        Message("user", "w "),
    )
    assert (comparison.chosen, comparison.rejected) == ((" good\n",), ("",))


IRREGULAR = {
    "two turns of one speaker": "\n\nHuman: u\n\nHuman: v",
    "a mark without its space": "\n\nHuman: u\n\nAssistant:\n\nHuman: v",
    "a mark without its space inside a turn": "\n\nHuman: u\n\nHuman:v",
    "the assistant first": "\n\nAssistant: u",
    "a text before the first mark": "Note\n\nHuman: u",
}


@pytest.mark.parametrize("prompt", IRREGULAR.values(), ids=IRREGULAR.keys())
def test_an_irregular_transcript_keeps_its_prompt_whole(tmp_path: Path, prompt: str) -> None:
    prompt += "\n\nAssistant:"
    fields = {"chosen": f"{prompt} good", "rejected": f"{prompt} bad"}
    comparison = only(tmp_path, fields, suite(TRANSCRIPTS))
    assert comparison.prompt == (Message("user", prompt),)
    assert (comparison.chosen, comparison.rejected) == ((" good",), (" bad",))


def test_a_side_that_goes_on_for_more_turns_is_cut_where_the_sides_part(tmp_path: Path) -> None:
    start = transcript("u") + "\n\nAssistant:"
    fields = {"chosen": start + " good", "rejected": start + " bad" + transcript("more", "words")}
    comparison = only(tmp_path, fields, suite(TRANSCRIPTS))
    assert comparison.prompt == (Message("user", start),)
    assert comparison.rejected == (" bad\n\nHuman: more\n\nAssistant: words",)


PIECES = st.sampled_from(["\n", "\n\n", "Human", "Assistant", ":", " ", "x", "é\u2028", "(.*)"])
CONTENTS = st.lists(PIECES, max_size=8).map("".join)
UNMARKED = CONTENTS.filter(lambda text: "\n\nHuman:" not in text and "\n\nAssistant:" not in text)


@given(rounds=st.integers(0, 3), data=st.data())
@PATIENT
def test_transcripts_built_from_turns_without_marks_split_back_exactly(
    rounds: int, data: st.DataObject
) -> None:
    prompt = [data.draw(UNMARKED) for _ in range(2 * rounds + 1)]
    chosen, rejected = data.draw(UNMARKED), data.draw(UNMARKED)
    fields = {"chosen": transcript(*prompt, chosen), "rejected": transcript(*prompt, rejected)}
    with tempfile.TemporaryDirectory() as folder:
        comparison = only(Path(folder), fields, suite(TRANSCRIPTS, empty="keep"))
    assert [{"role": item.role, "content": item.content} for item in comparison.prompt] == turns(
        *prompt
    )
    assert (comparison.chosen, comparison.rejected) == ((chosen,), (rejected,))


@given(prompt=CONTENTS, chosen=CONTENTS, rejected=CONTENTS)
@PATIENT
def test_no_text_of_a_transcript_is_lost_or_moved(prompt: str, chosen: str, rejected: str) -> None:
    fields = {"chosen": transcript(prompt, chosen), "rejected": transcript(prompt, rejected)}
    with tempfile.TemporaryDirectory() as folder:
        comparison = only(Path(folder), fields, suite(TRANSCRIPTS, empty="keep"))
    contents = [message.content for message in comparison.prompt]
    for (response,), whole in (
        (comparison.chosen, fields["chosen"]),
        (comparison.rejected, fields["rejected"]),
    ):
        assert whole in (transcript(*contents, response), "".join(contents) + response)


# --- every format gives the same comparisons -----------------------------------------------------

WORDS = st.text(max_size=20) | st.sampled_from(
    ["a\nb", "a\r\nb", "\r", '"', '""', "a,b", "\u2028", "\u2029\x85", "\ufeff", "\0", "'", "\\n"]
)


def digest(comparisons: Iterable[Comparison]) -> str:
    return hashlib.sha256(b"".join(item.canonical() for item in comparisons)).hexdigest()


def write_parquet(path: Path, rows: Content) -> None:
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)


def write_csv(path: Path, rows: Content) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@given(texts=st.lists(st.tuples(WORDS, WORDS, WORDS), min_size=1, max_size=5))
@PATIENT
def test_any_texts_give_the_same_comparisons_through_every_format(
    texts: list[tuple[str, str, str]],
) -> None:
    rows = [
        {"id": f"i{number}", "subset": "a", "prompt": prompt, "chosen": good, "rejected": bad}
        for number, (prompt, good, bad) in enumerate(texts)
    ]
    expected = digest(
        Comparison(
            id=f"a/i{number}",
            subset="a",
            prompt=(Message("user", prompt),),
            chosen=(good,),
            rejected=(bad,),
        )
        for number, (prompt, good, bad) in enumerate(texts)
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder, rows)
        (folder / "rows.json").write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
        write_csv(folder / "rows.csv", rows)
        write_parquet(folder / "rows.parquet", rows)
        for ending in ("jsonl", "json", "csv", "parquet"):
            opened = open_feed(suite(empty="keep"), data=str(folder / f"rows.{ending}"))
            assert opened.contents.sha256 == expected, ending


@given(
    prompts=st.lists(
        st.lists(WORDS, min_size=1, max_size=5).filter(lambda texts: len(texts) % 2 == 1),
        min_size=1,
        max_size=4,
    ),
    responses=st.lists(WORDS, min_size=1, max_size=3),
)
@PATIENT
def test_messages_give_the_same_comparisons_through_jsonl_and_parquet(
    prompts: list[list[str]], responses: list[str]
) -> None:
    rows = [
        {"id": number, "subset": "a", "prompt": turns(*texts), "chosen": responses, "rejected": "r"}
        for number, texts in enumerate(prompts)
    ]
    made = suite(empty="keep", rule="best-of")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_parquet(folder / "rows.parquet", rows)
        jsonl = feed(folder, rows, made)
        parquet = open_feed(made, data=str(folder / "rows.parquet"))
        comparisons = list(jsonl)
    assert parquet.contents.sha256 == jsonl.contents.sha256 == digest(comparisons)
    assert [[m.content for m in item.prompt] for item in comparisons] == prompts
    assert {item.chosen for item in comparisons} == {tuple(responses)}


# --- real data -----------------------------------------------------------------------------------

REWARDBENCH = {
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
} | dict.fromkeys(["hep-cpp", "hep-go", "hep-java", "hep-js", "hep-python", "hep-rust"], 164)
"""Comparisons of each subset (the data set's card; arXiv 2403.13787, table 1)."""


def test_rewardbench_has_its_published_comparisons(test_data: Path) -> None:
    made = load_suite("rewardbench")
    opened = open_feed(made, data=str(test_data / "rewardbench_v1.jsonl.gz"))
    assert len(opened.contents.ids) == sum(REWARDBENCH.values()) == 2985
    assert Counter(opened.contents.subsets) == REWARDBENCH
    assert opened.contents.sha256 == made.source.sha256
    assert opened.contents.audit["duplicates"] == 0
    assert opened.contents.audit["empty"] == 0


def test_ultrafeedback_has_its_identical_and_empty_responses(test_data: Path) -> None:
    path = test_data / "ultrafeedback_binarized_sample.jsonl.gz"
    contents = open_feed(load_suite("ultrafeedback"), data=str(path)).contents
    assert len(contents.ids) == 1200
    assert (contents.audit["identical_responses"], contents.audit["empty"]) == (5, 2)
    # The sample's README counts as many, and UltraFeedback's scores are whole and half points.
    assert contents.audit["equal_scores"] == 136


def as_transcripts(item: dict[str, Any]) -> dict[str, str]:
    """Return a split row as the two whole transcripts that the Hub has."""
    if item["layout"] == "raw":
        return {side: item["prompt"] + item[side] for side in ("chosen", "rejected")}
    contents = [message["content"] for message in item["prompt"]]
    assert item["prompt"] == turns(*contents)
    return {side: transcript(*contents, item[side]) for side in ("chosen", "rejected")}


def test_hh_rlhf_is_the_same_from_transcripts_as_from_split_rows(
    test_data: Path, tmp_path: Path
) -> None:
    path = test_data / "hh_rlhf_test.jsonl.gz"
    rows = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    for name in ("harmless-base", "helpful-base"):
        (tmp_path / name).mkdir()
        mine = [json.dumps(as_transcripts(item)) for item in rows if item["subset"] == name]
        content = "\n".join(mine).encode()
        (tmp_path / name / "test.jsonl.gz").write_bytes(gzip.compress(content, 1))
    made = load_suite("hh-rlhf")
    split, whole = open_feed(made, data=str(path)), open_feed(made, data=str(tmp_path))
    assert Counter(whole.contents.subsets) == {"harmless-base": 2312, "helpful-base": 2352}
    assert split.contents.audit["empty"] == whole.contents.audit["empty"] == 8
    for one, other in zip(split, whole, strict=True):
        assert replace(one, id="") == replace(other, id="")
