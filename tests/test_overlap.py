"""What a suite shares with training data."""

import json
import sys
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from rmbench.cli import main
from rmbench.errors import DataError
from rmbench.suite.catalogue import load_suite
from rmbench.suite.definition import Suite
from rmbench.suite.feed import open_feed
from rmbench.suite.overlap import Overlap, find_overlap
from rmbench.suite.recognise import rows_of
from rmbench.suite.shingles import NearTexts, digest_of, shingles_of, words_in

LONG = "The capital of France is Paris, a city on the river Seine with two million people."


def suite_in(folder: Path, rows: list[dict[str, Any]]) -> Suite:
    """Write a suite of these rows."""
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "s.toml").write_text(
        'name = "s"\n[source]\npath = "rows.jsonl"\n'
        '[columns]\nprompt = "prompt"\nchosen = "chosen"\nrejected = "rejected"\nsubset = "subset"'
    )
    return load_suite(str(folder / "s.toml"))


def overlap_of(folder: Path, train: list[Any], *, near: float | None = 0.7) -> Overlap:
    """Return what three comparisons share with training rows."""
    suite = suite_in(
        folder,
        [
            {"subset": "a", "prompt": "What is the capital?", "chosen": LONG, "rejected": "No."},
            {
                "subset": "a",
                "prompt": "Second question",
                "chosen": "Yes it is so",
                "rejected": "No.",
            },
            {"subset": "b", "prompt": "Third", "chosen": "a b c d e f g", "rejected": "h i j k l"},
        ],
    )
    file = folder / "train.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in train))
    return find_overlap(open_feed(suite), rows_of(str(file)), near=near)


def kinds(found: Overlap) -> list[tuple[str, str]]:
    return [(item.prompt, item.response) for item in found.shared]


NONE = ("", "")
ALIKE = LONG.upper().replace(",", "").replace("is", " is ")
NEARLY = LONG.replace("people", "persons")
FORMS: dict[str, Any] = {
    "texts": {"prompt": "what is the CAPITAL", "chosen": ALIKE, "rejected": "?"},
    "messages": {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "What is the capital?"},
            {"role": "assistant", "content": LONG},
        ]
    },
    "sharegpt": {
        "conversations": [
            {"from": "human", "value": "What is the capital?"},
            {"from": "gpt", "value": LONG},
        ]
    },
    "implicit prompt": {
        side: [
            {"role": "user", "content": "What is the capital?"},
            {"role": "assistant", "content": text},
        ]
        for side, text in (("chosen", LONG), ("rejected", "Rome"))
    },
    "transcripts": {
        "chosen": f"\n\nHuman: What is the capital?\n\nAssistant: {LONG}",
        "rejected": "\n\nHuman: What is the capital?\n\nAssistant: Rome",
    },
    "lists": {"question": "What is the capital?", "answers": ["Rome", LONG]},
    "inside": {"prompt": "What is the capital?", "chosen": {"llm_name": "m", "answer": LONG}},
    "sides exchanged": {"prompt": "What is the capital?", "chosen": "Rome", "rejected": LONG},
}


@pytest.mark.parametrize("row", FORMS.values(), ids=FORMS)
def test_every_form_of_training_row_is_read(row: Any, tmp_path: Path) -> None:
    found = overlap_of(tmp_path, [{"x": 1}, row])
    assert kinds(found) == [("exact", "exact"), NONE, NONE]
    assert found.shared[0].prompt_place.endswith("row 2")
    assert found.shared_ids == ["a/0"] and found.rows == 2


def test_a_text_with_one_other_word_is_near_and_not_the_same(tmp_path: Path) -> None:
    assert kinds(overlap_of(tmp_path, [{"text": NEARLY}]))[0] == ("", "near")
    assert kinds(overlap_of(tmp_path, [{"text": NEARLY}], near=None))[0] == NONE
    assert kinds(overlap_of(tmp_path, [{"text": NEARLY}, {"text": LONG}]))[0] == ("", "exact")


def test_short_responses_are_not_looked_for_and_short_prompts_are(tmp_path: Path) -> None:
    found = overlap_of(tmp_path, [{"text": "No."}, {"text": "Yes it is so"}, {"text": "Third"}])
    assert kinds(found) == [NONE, NONE, ("exact", "")]


def test_the_whole_of_a_conversation_counts_not_its_last_turn_alone(tmp_path: Path) -> None:
    turns = [
        {"role": "user", "content": "Tell me of Rome."},
        {"role": "assistant", "content": "It is a city."},
        {"role": "user", "content": "Go on, please."},
    ]
    row = {"subset": "a", "prompt": turns, "chosen": "It is old.", "rejected": "No more."}
    suite = suite_in(tmp_path, [row])
    train = tmp_path / "train.jsonl"
    for messages, expected in (([*turns, turns[1]], "exact"), (turns[2:], "")):
        train.write_text(json.dumps({"messages": messages}) + "\n")
        found = find_overlap(open_feed(suite), rows_of(str(train)), near=None)
        assert found.shared[0].prompt == expected


def test_messages_of_no_known_form_are_counted(tmp_path: Path) -> None:
    picture = {"role": "user", "content": [{"type": "image", "url": "x"}]}
    assert overlap_of(tmp_path, [{"messages": [picture]}]).unread == 1


def test_no_rows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no rows; give"):
        overlap_of(tmp_path, [])


@given(st.lists(st.sampled_from("abcdefgh"), max_size=30), st.lists(st.sampled_from("abcdefgh")))
def test_near_is_jaccards_index_of_runs_of_three_words(one: list[str], other: list[str]) -> None:
    first, second = ({tuple(t[i : i + 3]) for i in range(len(t) - 2)} for t in (one, other))
    index = NearTexts(0.6)
    index.add(7, shingles_of(one))
    union = len(first | second)
    is_near = bool(first) and len(first & second) / union >= 0.6
    found = index.find(shingles_of(other))
    assert found in ([], [7])
    assert not found or is_near  # buckets may miss a near text, and never add another
    if first == second and first:
        assert found == [7]


def test_few_near_texts_are_missed() -> None:
    # 60 words of which one of ten is another: 1 - (1 - .9**3) / (1 + (1 - .9**3)) is about .57.
    words = [f"w{number}" for number in range(60)]
    index = NearTexts(0.7)
    near = 0
    for number, (place, extra) in enumerate(product(range(20), range(5))):
        changed = list(words)
        changed[3 * place] = f"x{extra}"
        index.add(number, shingles_of([f"t{number % 7}", *changed]))
    near = len(index.find(shingles_of(words)))
    assert near >= 97


def test_words_are_told_from_marks_in_any_script() -> None:
    assert words_in("It's **Bold**, \uff21\uff22!") == ["it", "s", "bold", "ab"]
    assert words_in("東京は") == ["東", "京", "は"]
    assert digest_of(words_in("A  b\n")) == digest_of(words_in("a B."))
    assert not len(shingles_of(["a", "b"]))


def run(*arguments: str) -> Any:
    """Run the command as its user would."""
    return CliRunner().invoke(main, ["overlap", *arguments])


def test_a_result_is_shown_with_and_without_what_is_shared(tmp_path: Path) -> None:
    rows = Path("suites/mini.jsonl").read_text().splitlines(keepends=True)[::5]
    train = tmp_path / "train.jsonl"
    train.write_text("".join(rows))
    done = run(str(train), "--suite", "mini", "--result", "mini/length", "--format", "json")
    found = json.loads(done.stdout)
    assert found["train"] == {"origin": "train.jsonl", "rows": len(rows), "unread": 0}
    assert found["subsets"][-1]["prompt same"] == len(rows)
    every, some, rest = (found["results"][0][name] for name in ("all", "shared", "rest"))
    assert some["pooled"]["n"] + rest["pooled"]["n"] == every["pooled"]["n"] == 240
    assert some["pooled"]["n"] == len(found["shared"]) == found["subsets"][-1]["shared"]
    assert some["pooled"]["wins"] + rest["pooled"]["wins"] == every["pooled"]["wins"]
    for fmt in ("table", "markdown", "csv", "latex", "html"):
        shown = run(str(train), "--suite", "mini", "--result", "mini/length", "--format", fmt)
        assert shown.exit_code == 0 and "without the shared" in shown.stdout


def test_a_result_on_other_texts_is_refused(tmp_path: Path) -> None:
    train = tmp_path / "train.jsonl"
    train.write_text('{"text": "x"}\n')
    done = run(str(train), "--suite", "mini", "--result", "rewardbench/length")
    assert done.exit_code == 2 and "other texts" in done.stderr and "--data" in done.stderr
    done = run(str(tmp_path / "none.jsonl"), "--suite", "mini")
    assert done.exit_code == 2 and "no such file" in done.stderr


def test_near_texts_need_an_extra_and_equal_ones_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "datasketch", None)
    with pytest.raises(DataError, match=r"rmbench\[overlap\].*--exact"):
        overlap_of(tmp_path, [{"text": LONG}])
    assert kinds(overlap_of(tmp_path, [{"text": LONG}], near=None))[0] == ("", "exact")
