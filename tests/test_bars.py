"""Accuracies as bars in a terminal."""

import io
from typing import Any

import pytest

from rmbench.accuracy.aggregate import Accuracy
from rmbench.api import evaluate
from rmbench.compare.contrast import compare
from rmbench.result.record import Result
from rmbench.scorers.registry import load_scorer
from rmbench.show.bars import can_draw, draw_bar, draw_bars, draw_differences
from rmbench.suite.catalogue import load_suite


class Terminal(io.TextIOWrapper):
    def __init__(self, encoding: str, *, is_terminal: bool = True) -> None:
        super().__init__(io.BytesIO(), encoding=encoding)
        self.is_terminal = is_terminal

    def isatty(self) -> bool:
        return self.is_terminal


def accuracy(low: float, value: float, high: float) -> Accuracy:
    return Accuracy(accuracy=value, low=low, high=high, n=10, wins=5, ties=0)


def make_result(**groups: Any) -> Result:
    return Result(
        source="measured",
        suite={"name": "s", "version": 1, "headline": "pooled"},
        model={"id": "m"},
        averages=groups.pop("averages", {"pooled": accuracy(0.3, 0.5, 0.7)}),
        **groups,
    )


@pytest.mark.parametrize(
    ("low", "value", "high", "expected"),
    [
        (0.3, 0.5, 0.8, "━━━├─●──┤  "),
        (0.0, 0.0, 0.2, "●──  ┊     "),
        (0.8, 1.0, 1.0, "━━━━━━━━──●"),
        (0.5, 0.5, 0.5, "━━━━━●     "),
    ],
)
def test_a_bar_ends_in_its_interval_with_a_dot_at_the_accuracy(
    low: float, value: float, high: float, expected: str
) -> None:
    # Eleven characters: each is ten points, the first 0 and the last 100 %.
    assert draw_bar(accuracy(low, value, high), 11) == expected


@pytest.mark.parametrize("width", [30, 31, 80, 100, 161])
def test_no_line_is_longer_than_the_terminal(width: int) -> None:
    result = make_result(sections={"Chat Hard": accuracy(0.0, 1.0, 1.0)})
    lines = draw_bars(result, width=width).splitlines()
    assert len(lines) == 3
    assert max(map(len, lines)) == width


def test_sections_stand_above_averages_and_subsets_above_both() -> None:
    result = make_result(
        sections={"Chat": accuracy(0.1, 0.2, 0.3)}, subsets={"easy": accuracy(0.1, 0.2, 0.3)}
    )
    names = [line.split()[0] for line in draw_bars(result, width=60, subsets=True).splitlines()]
    assert names == ["easy", "Chat", "pooled", "0"]


def test_the_scale_puts_50_beneath_the_mark_of_one_half() -> None:
    bar, scale = draw_bars(
        make_result(averages={"a": accuracy(0.1, 0.2, 0.3)}), width=60
    ).splitlines()
    assert bar.index("┊") in (scale.index("50"), scale.index("50") + 1)


@pytest.mark.parametrize("width", [10, 20])
def test_a_terminal_too_narrow_for_bars_gets_none(width: int) -> None:
    assert draw_bars(make_result(), width=width) == ""


def test_published_numbers_without_intervals_are_not_drawn() -> None:
    assert draw_bars(make_result(averages={"pooled": Accuracy(accuracy=0.5)}), width=80) == ""


def test_a_name_cannot_steer_the_terminal() -> None:
    result = make_result(sections={"a\x1b[2Jb": accuracy(0.1, 0.2, 0.3)})
    assert "\x1b" not in draw_bars(result, width=80)


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (Terminal("utf-8"), True),
        (Terminal("UTF8"), True),
        (Terminal("latin-1"), False),
        (Terminal("utf-8", is_terminal=False), False),
        (io.StringIO(), False),
    ],
)
def test_bars_are_for_terminals_that_speak_utf_8(stream: io.TextIOBase, expected: bool) -> None:
    assert can_draw(stream) is expected


@pytest.mark.parametrize("width", [40, 70, 71])
def test_a_difference_lies_on_its_side_of_zero(width: int) -> None:
    suite = load_suite("mini")
    old, new = (evaluate(suite, load_scorer(name)) for name in ("length", "random"))
    contrast = compare(old, new, suite)
    *lines, scale = draw_differences(contrast, width=width).splitlines()
    zero = scale.index(" 0 ") + 1
    for line, row in zip(lines, contrast.level("section", "average"), strict=True):
        assert row.difference is not None
        estimate = row.difference.estimate
        assert line.startswith(row.name)
        assert f"{100 * estimate:+.2f}" in line
        assert line[zero] in "┊┼●"
        if abs(estimate) > 0.02:
            assert (line.index("●") > zero) == (estimate > 0)
    assert max(map(len, [*lines, scale])) == width


def test_a_result_and_itself_differ_by_a_dot_on_zero() -> None:
    suite = load_suite("mini")
    same = evaluate(suite, load_scorer("length"))
    *lines, scale = draw_differences(compare(same, same, suite), width=60).splitlines()
    assert {line.index("●") for line in lines} == {scale.index(" 0 ") + 1}


def test_a_terminal_too_narrow_for_differences_gets_none() -> None:
    suite = load_suite("mini")
    same = evaluate(suite, load_scorer("length"))
    assert draw_differences(compare(same, same, suite), width=20) == ""
