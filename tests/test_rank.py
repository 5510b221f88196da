"""One's own candidates in a scorer's order: what is asked, the best of n, margins and ties."""

import csv
import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import rmbench
from rmbench.answers.best import rank
from rmbench.cache import Cache
from rmbench.cli import main
from rmbench.errors import DataError
from rmbench.scorers.contract import Facts, Ledger, ScorerInfo
from rmbench.suite.choices import Choices, open_choices
from rmbench.suite.comparison import Candidates

ROWS: list[dict[str, Any]] = [
    {"prompt": "p", "responses": ["bb", "a", "cccc"]},
    {"id": "x", "prompt": [{"role": "user", "content": "q"}], "responses": ["ab", "cd"]},
]


def choices(tmp_path: Path, rows: list[dict[str, Any]] = ROWS, **names: str) -> Choices:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return open_choices(str(path), **names)


class Duel:
    """Prefers the response that comes first in the alphabet, 0.8 to 0.2, two at a time."""

    def __init__(self, most: int = 2, *, place: bool = False) -> None:
        self.info = ScorerInfo(id="duel", kind="test", gives="preferences", scale="probability")
        self.most, self.place = most, place
        self.asked: list[tuple[str, ...]] = []

    def prefer(self, questions: Iterable[Candidates], ledger: Ledger) -> Facts:
        for number, question in enumerate(questions):
            self.asked.append(question.responses)
            order = np.argsort(question.responses).tolist()
            shares = [0.8 if i == (0 if self.place else order[0]) else 0.2 for i in range(2)]
            ledger.record({number: tuple(shares)})
        return Facts()


def test_the_order_is_that_of_the_rewards(tmp_path: Path) -> None:
    first, second = rank(choices(tmp_path), rmbench.load_scorer("length"))
    assert (first.id, first.order, first.scores) == ("1", (2, 0, 1), (2.0, 1.0, 4.0))
    assert (first.margin, first.tie) == (2.0, "")
    # Equal rewards: the first in the row stands.
    assert (second.id, second.order, second.margin, second.tie) == ("x", (0, 1), 0.0, "tie")


def test_rewards_a_step_of_float32_apart_are_nearly_tied(tmp_path: Path) -> None:
    least = float(np.spacing(np.float32(1.0)))
    rewards = {"bb": 1.0, "a": 1.0 + least, "cccc": 0.0, "ab": 1.0, "cd": 1.0 + 4 * least}
    scorer = rmbench.scorer("me/near", lambda talk: rewards[talk.response])
    first, second = rank(choices(tmp_path), scorer)
    # 1 + eps lies in the same binade as 1, whose step is eps: not less than one apart.
    assert (first.order, first.tie, second.tie) == ((1, 0, 2), "", "")
    rewards["a"] = 2.0
    rewards["bb"] = float(np.nextafter(np.float32(2.0), np.float32(0.0)))
    assert rank(choices(tmp_path), scorer)[0].tie == "near"


def test_a_scorer_that_compares_sees_every_two_in_both_orders(tmp_path: Path) -> None:
    duel = Duel()
    first, second = rank(choices(tmp_path), duel)
    assert sorted(duel.asked[:6]) == sorted(
        [("bb", "a"), ("a", "bb"), ("bb", "cccc"), ("cccc", "bb"), ("a", "cccc"), ("cccc", "a")]
    )
    # "a" wins both of its pairs, "bb" one, "cccc" none.
    assert first.order == (1, 0, 2)
    assert first.scores == pytest.approx((0.5, 0.8, 0.2))
    assert (second.order, second.tie) == ((0, 1), "")


def test_a_scorer_that_prefers_a_place_is_told(tmp_path: Path) -> None:
    first, _ = rank(choices(tmp_path), Duel(place=True))
    assert first.tie and first.scores == pytest.approx((0.5, 0.5, 0.5))


def test_answers_are_kept(tmp_path: Path) -> None:
    asked: list[str] = []

    def reward(talk: rmbench.Conversation) -> float:
        asked.append(talk.response)
        return float(len(talk.response))

    scorer = rmbench.scorer("me/counted", reward, revision="1")
    for _ in range(2):
        with Cache(tmp_path / "cache") as cache:
            found = rank(choices(tmp_path), scorer, cache=cache)
    assert len(asked) == 5 and found[0].order == (2, 0, 1)


def test_messages_are_candidates_too(tmp_path: Path) -> None:
    call = {"role": "assistant", "content": "", "tool_calls": [{"name": "f"}]}
    rows = [{"question": "p", "outputs": ["a", [{"role": "assistant", "content": "b"}], [call]]}]
    (item,) = choices(tmp_path, rows)
    assert item.chosen[:2] == ("a", "b") and "tool_calls" in item.chosen[2]
    assert [bool(own) for own in item.turns] == [False, False, True]
    named = [{"q": "p", "answers": ["a", "b"]}]
    assert choices(tmp_path, named, prompt="q", responses="answers").contents.sides == [(2, 0)]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "rows.jsonl: no rows"),
        ([{"prompt": "p", "answers": ["a", "b"]}], r"answers: name it with --responses COLUMN"),
        ([{"text": "p", "responses": ["a", "b"]}], "name it with --prompt COLUMN"),
        ([{"prompt": "p", "responses": ["a"]}], "list of two or more candidates"),
        ([{"prompt": "p", "responses": "ab"}], "list of two or more candidates"),
        ([{"prompt": "p", "responses": ["a", 1]}], "must be a text, or messages"),
        ([{"prompt": 1, "responses": ["a", "b"]}], '"prompt" is int'),
        ([{"id": 1, "prompt": "p", "responses": ["a", "b"]}] * 2, 'id "1" is in an earlier'),
        ([{"id": [], "prompt": "p", "responses": ["a", "b"]}], '"id" is list'),
        ([{"prompt": "p", "responses": ["a", "\ud800"]}], "half a surrogate"),
    ],
)
def test_what_is_wrong_is_one_line(
    tmp_path: Path, rows: list[dict[str, Any]], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        choices(tmp_path, rows)


def test_the_command_prints_table_json_and_csv(tmp_path: Path) -> None:
    choices(tmp_path)
    command = ["rank", str(tmp_path / "rows.jsonl"), "--model", "length"]
    shown = CliRunner().invoke(main, command)
    assert shown.exit_code == 0 and "1 prompt with two best candidates" in shown.stdout
    record = json.loads(CliRunner().invoke(main, [*command, "--format", "json"]).stdout)
    first = record["prompts"][0]
    assert (record["model"], first["best"], first["response"]) == ("length", 2, "cccc")
    text = CliRunner().invoke(main, [*command, "--format", "csv"]).stdout
    lines = list(csv.DictReader(io.StringIO(text)))
    assert [line["candidate"] for line in lines] == ["2", "0", "1", "0", "1"]
    assert [line["tie"] for line in lines] == ["", "", "", "tie", ""]
    missing = CliRunner().invoke(main, ["rank", "nowhere.jsonl", "--model", "length"])
    assert missing.exit_code == 2 and "no such file" in missing.stderr
