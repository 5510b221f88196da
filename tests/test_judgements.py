"""Rewards: in few bytes, as the shortest decimals, and read or refused line by line."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from recorded import REWARDS, a_result

from rmbench.answers import lines as module
from rmbench.answers.judgements import Judgement, Judgements, Preference
from rmbench.answers.lines import judgement_line, read_judgements
from rmbench.errors import ResultError
from rmbench.result.store import write_result


@settings(max_examples=300)
@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
@example(0.1)
@example(-0.0)
@example(1.401298464324817e-45)
@example(3.4028234663852886e38)
@example(16777216.0)
def test_a_reward_is_the_shortest_decimal_that_reads_back_as_the_same_float32(
    reward: float,
) -> None:
    reward = float(np.float32(reward))
    line = judgement_line(Judgement("a/1", (reward,), (reward,)))
    text = re.fullmatch(r'\{"id": "a/1", "chosen": \[(.*)\], "rejected": \[\1\]\}\n', line)
    assert text is not None
    back = np.float32(text[1])
    assert back == np.float32(reward)
    assert np.signbit(back) == np.signbit(np.float32(reward))
    # numpy's own shortest digits: as many as needed, and none more.
    shortest = np.format_float_scientific(np.float32(reward), unique=True, trim="-")
    assert digits(text[1]) == digits(shortest)


def digits(number: str) -> str:
    mantissa = number.lower().split("e")[0]
    return mantissa.replace(".", "").lstrip("-").strip("0")


def test_rewards_read_back_as_the_same_float32(tmp_path: Path) -> None:
    write_result(a_result(), tmp_path)
    back = read_judgements(tmp_path / "small" / "org--name.json")
    as_float32 = [np.float32(value) for item in back for value in item.chosen if value is not None]
    assert [item.id for item in back] == ["a/1", "a/2", "a/3"]
    assert as_float32 == [np.float32(0.1), np.float32(1.5)]
    assert [item.is_dropped for item in back] == [False, False, True]
    assert back[2].rejected[0] == pytest.approx(1e-7)


GOOD = b'{"id": "a/1", "chosen": [1], "rejected": [0.5, null]}\n'
SHAPE = "must be an object with id, chosen and rejected"
SIDES = "id must be a text, each side a list of finite numbers or null"


def test_a_cluster_stands_in_the_line_where_it_is_known(tmp_path: Path) -> None:
    entries = [Judgement(f"a/{i}", (1.0,), (0.0,), (), i // 2) for i in range(4)]
    lines = [judgement_line(item) for item in entries]
    assert lines[2] == '{"id": "a/2", "cluster": 1, "chosen": [1.0], "rejected": [0.0]}\n'
    (tmp_path / "record.jsonl").write_text("".join(lines))
    found = read_judgements(tmp_path / "record.json")
    assert found.clusters is not None and found.clusters.tolist() == [0, 0, 1, 1]
    assert list(found) == entries
    # Where it is missing of some it is not known.
    (tmp_path / "record.jsonl").write_text(
        lines[0] + judgement_line(entries[1]._replace(cluster=None))
    )
    assert read_judgements(tmp_path / "record.json").clusters is None


@pytest.mark.parametrize("cluster", ["-1", "1.5", '"x"', "true"])
def test_a_cluster_that_is_no_whole_number_is_refused(cluster: str, tmp_path: Path) -> None:
    line = f'{{"id": "a/1", "cluster": {cluster}, "chosen": [1], "rejected": [0]}}\n'
    (tmp_path / "record.jsonl").write_text(line)
    with pytest.raises(ResultError, match="line 1: cluster must be a whole number; run it again"):
        read_judgements(tmp_path / "record.json")


def test_a_line_of_rewards_holds_numbers_and_null(tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_bytes(GOOD)
    assert read_judgements(tmp_path / "r.json") == [Judgement("a/1", (1,), (0.5, None))]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"\n", SHAPE),
        (b"{}", SHAPE),
        (b"[]", SHAPE),
        (b'"id"', SHAPE),
        (b"\xff", SHAPE),
        (b"[" * 100_000, SHAPE),
        (b'{"id": 1, "chosen": [1], "rejected": [1]}', SIDES),
        (b'{"id": "a", "chosen": [], "rejected": [1]}', SIDES),
        (b'{"id": "a", "chosen": 1, "rejected": [1]}', SIDES),
        (b'{"id": "a", "chosen": [true], "rejected": [1]}', SIDES),
        (b'{"id": "a", "chosen": ["1"], "rejected": [1]}', SIDES),
        (b'{"id": "a", "chosen": [NaN], "rejected": [1]}', SIDES),
        (b'{"id": "a", "chosen": [Infinity], "rejected": [1]}', SIDES),
        (b'{"id": "a", "chosen": [1e39], "rejected": [1]}', SIDES),
        (
            b'{"id": "b", "chosen": [1], "rejected": [2], "chosen": [3]}',
            'the key "chosen" appears twice in one object; run it again',
        ),
        (GOOD, '"a/1" is in an earlier line too; run it again'),
    ],
)
def test_a_broken_line_of_rewards_is_named(line: bytes, message: str, tmp_path: Path) -> None:
    file = tmp_path / "r.jsonl"
    file.write_bytes(GOOD + line)
    with pytest.raises(ResultError) as error:
        read_judgements(tmp_path / "r.json")
    assert str(error.value) == f"{file}, line 2: {message}"


def test_a_line_without_end_is_not_read_into_memory(tmp_path: Path) -> None:
    file = tmp_path / "r.jsonl"
    file.write_bytes(b" " * 1_000_001)
    with pytest.raises(ResultError) as error:
        read_judgements(tmp_path / "r.json")
    assert str(error.value) == f"{file}: a line longer than 1000000 bytes"


def test_missing_rewards_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(ResultError) as error:
        read_judgements(tmp_path / "r.json")
    assert str(error.value) == (
        f"{tmp_path}/r.jsonl: cannot be read: No such file or directory;"
        " the rewards stand beside their record"
    )


# --- many rewards in columns ---------------------------------------------------------------------

float32 = st.one_of(st.none(), st.floats(width=32, allow_nan=False, allow_infinity=False))
side = st.lists(float32, min_size=1, max_size=3).map(tuple)


def in_columns(entries: list[Judgement]) -> Judgements:
    values = [value for item in entries for value in (*item.chosen, *item.rejected)]
    return Judgements(
        [item.id for item in entries],
        [(len(item.chosen), len(item.rejected)) for item in entries],
        [float("nan") if value is None else value for value in values],
    )


@given(st.lists(st.builds(Judgement, st.text(), side, side, st.just(()), st.none(), st.none())))
def test_a_table_of_rewards_is_the_list_of_its_entries(entries: list[Judgement]) -> None:
    table = in_columns(entries)
    assert list(table) == entries
    assert [table[i] for i in range(len(table))] == entries
    assert table == entries
    assert bool(table) == bool(entries)


def test_a_table_of_rewards_is_indexed_as_a_list_is() -> None:
    entries = [Judgement("a/1", (0.5,), (1.0, None)), Judgement("a/2", (2.0, 3.0), (4.0,))]
    table = in_columns(entries)
    assert table[-1] == entries[-1]
    assert table[::-1] == entries[::-1]
    with pytest.raises(IndexError):
        table[2]


def test_tables_of_rewards_that_differ_are_not_equal() -> None:
    one, other = in_columns(REWARDS), in_columns([REWARDS[0]._replace(chosen=(9.0,)), *REWARDS[1:]])
    assert one == in_columns(REWARDS)
    assert one != other
    assert one != in_columns(REWARDS[:2])
    assert one != 3


# --- steps and preferences -----------------------------------------------------------------------

STEPS = Judgement("a/1", ((0.5, 0.25), (1.0,)), ((0.5, 0.125, 2.0), None))
BOTH_ORDERS = (Preference((0, 1), (0.75, 0.25)), Preference((1, 0), (0.5, 0.5)))
PREFERRED = Judgement("a/2", (None,), (None,), BOTH_ORDERS)


@pytest.mark.parametrize(
    ("item", "line"),
    [
        (
            STEPS,
            '{"id": "a/1", "chosen": [[0.5, 0.25], [1.0]], "rejected": [[0.5, 0.125, 2.0], null]}',
        ),
        (
            PREFERRED,
            '{"id": "a/2", "sides": [1, 1],'
            ' "preferences": [[[0, 1], [0.75, 0.25]], [[1, 0], [0.5, 0.5]]]}',
        ),
    ],
)
def test_steps_and_preferences_have_a_line_each(item: Judgement, line: str, tmp_path: Path) -> None:
    assert judgement_line(item) == f"{line}\n"
    (tmp_path / "r.jsonl").write_text(f"{line}\n", encoding="utf-8")
    assert read_judgements(tmp_path / "r.json") == [item]


@pytest.mark.parametrize(
    ("reduce", "expected"),
    [
        ("min", [0.25, 1.0, 0.125]),
        ("last", [0.25, 1.0, 2.0]),
        ("mean", [0.375, 1.0, 0.875]),
        ("product", [0.125, 1.0, 0.125]),
        ("sum", [0.75, 1.0, 2.625]),
    ],
)
def test_the_rewards_of_steps_become_one(reduce: str, expected: list[float]) -> None:
    rewards = Judgements.of([STEPS], reduce=reduce).rewards
    assert rewards[:3].tolist() == expected
    assert np.isnan(rewards[3])


def test_a_margin_of_preferences_is_the_mean_over_the_questions_with_both() -> None:
    asked = (
        Preference((0, 1), (0.75, 0.25)),
        Preference((1, 0), (0.5, 0.5)),
        Preference((0, 2), None),
        Preference((2, 0), (0.25, 0.75)),
    )
    (block,) = Judgements.of([Judgement("a/1", (None,), (None, None), asked)]).blocks()
    assert block.chosen is None
    # (0.5 + 0) / 2 over both orders; none where only one of two orders was answered.
    assert block.margins[0, 0, 0] == 0.25
    assert np.isnan(block.margins[0, 0, 1])


@pytest.mark.parametrize(
    "content",
    [
        '"sides": [1], "preferences": [[[0, 1], null]]',
        '"sides": [1, 0], "preferences": [[[0, 1], null]]',
        '"sides": [1, 1], "preferences": []',
        '"sides": [1, 1], "preferences": [[[0, 2], null]]',
        '"sides": [1, 1], "preferences": [[[0, 0], null]]',
        '"sides": [1, 1], "preferences": [[[0, 1], [0.5]]]',
        '"sides": [1, 1], "preferences": [[[0, 1], [1.5, -0.5]]]',
        '"sides": [1, 1], "preferences": [[0, 1]]',
        '"sides": [1, 1e9], "preferences": [[[0, 1], null]]',
    ],
)
def test_a_broken_line_of_preferences_is_named(content: str, tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_text(f'{{"id": "a/1", {content}}}\n', encoding="utf-8")
    with pytest.raises(ResultError, match=r"r\.jsonl, line 1: sides must be two counts"):
        read_judgements(tmp_path / "r.json")


def test_a_file_holds_one_kind_of_answer(tmp_path: Path) -> None:
    lines = judgement_line(STEPS) + judgement_line(PREFERRED)
    (tmp_path / "r.jsonl").write_text(lines, encoding="utf-8")
    with pytest.raises(ResultError, match=r"r\.jsonl: holds rewards, steps and preferences"):
        read_judgements(tmp_path / "r.json")


@pytest.mark.parametrize(
    "lines",
    [
        '{"id": "a", "chosen": [1.5], "rejected": [null]}\n',
        '{"id": "a", "cluster": 3, "chosen": [1, 2.5], "rejected": [-1e-7]}\n',
        r'{"id": "say \"id\": x \"chosen\":", "chosen": [1], "rejected": [2]}' + "\n",
        '{"id": "a", "chosen": [1], "rejected": [2]}\n{"id": "b", "chosen": [1], "rejected": [2]}',
    ],
)
def test_a_file_read_as_a_whole_is_the_file_read_line_by_line(
    lines: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "r.jsonl").write_text(lines)
    whole = module._read_plain(tmp_path / "r.jsonl")
    monkeypatch.setattr(module, "_read_plain", lambda _: None)
    assert whole is not None
    assert list(whole) == list(read_judgements(tmp_path / "r.json"))


@pytest.mark.parametrize(
    "lines",
    [
        '{"id": "a", "chosen": [1], "rejected": [2], "id": "b"}\n',
        '{"id": "a", "chosen": [1], "rejected": [2]}, {"id": "b", "chosen": [1], "rejected": [2]}',
        '{"id": "a", "chosen": [1], "rejected": [2]}\n' * 2,
        '{"id": "a", "chosen": [1e39], "rejected": [2]}\n',
        '{"id": "a", "chosen": [NaN], "rejected": [2]}\n',
        '{"id": "a", "chosen": [true], "rejected": [2]}\n',
        '{"id": "a", "chosen": [], "rejected": [2]}\n',
        '{"id": 1, "chosen": [1], "rejected": [2]}\n',
        "\n",
    ],
)
def test_a_file_with_something_wrong_is_told_by_its_line(lines: str, tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_text(lines)
    with pytest.raises(ResultError, match=r"r\.jsonl, line \d"):
        read_judgements(tmp_path / "r.json")
