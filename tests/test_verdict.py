"""A reply is read in one way; what can be read in two is not read."""

import math
from typing import Any

import pytest
from pydantic import ValidationError

from rmbench.scorers.verdict import Reply, VerdictRule, is_bounded, read

MARKS = r"\[\[([ABC])\]\]"


def said(text: str, count: int = 2, **verdict: Any) -> Any:
    return read(VerdictRule(**{"pattern": MARKS} | verdict), Reply(text=text), count)


@pytest.mark.parametrize(
    ("text", "shares"),
    [
        ("A is better: [[A]]", (1.0, 0.0)),
        ("[[B]]", (0.0, 1.0)),
        ("as I said [[B]], so [[B]]", (0.0, 1.0)),
        ("[[A]] or [[B]]", "unreadable"),
        ("neither", "unreadable"),
        ("[[C]]", "unreadable"),  # a third candidate, of two
        ("<think>[[B]] at first</think> [[A]]", (1.0, 0.0)),
        ("[[B]] at first</think> [[A]]", (1.0, 0.0)),  # the template had opened the thought
        ("<think> [[A]] and never an end", "unreadable"),
    ],
)
def test_marks(text: str, shares: object) -> None:
    assert said(text) == shares


def test_labels_say_what_a_mark_means() -> None:
    labels = {"A": 1, "B": 2, "C": "tie"}
    assert said("[[C]]", labels=labels) == (0.5, 0.5)
    assert said("[[C]]", labels={"C": [0.75, 0.25]}) == (0.75, 0.25)
    assert said("[[C]]", labels={"C": [0.75, 0.75]}) == "unreadable"
    graded = {"pattern": r"\[\[([AB][<>]+[AB])\]\]", "labels": {"A>>B": 1, "A>B": 1, "B>A": 2}}
    assert said("[[A>>B]] or rather [[A>B]]", **graded) == (1.0, 0.0)  # both say the same
    assert said("[[A>B]] or [[B>A]]", **graded) == "unreadable"


def test_only_the_last_such_element_is_read() -> None:
    within = ("<answer>", "</answer>")
    assert said("[[B]] <answer>[[A]]</answer>", within=within) == (1.0, 0.0)
    assert said("[[B]]", within=within) == "unreadable"
    assert said("<answer>[[A]]", within=within) == "unreadable"


def test_the_last_of_several_marks_counts_where_the_file_says_so() -> None:
    number = {"pattern": r"\b(\d+)\b", "conflict": "last", "range": (1, 10)}
    assert said("3 reasons, so 8", count=1, **number) == (8.0,)
    assert said("3 reasons, so 80", count=1, **number) == "unreadable"


def test_a_reply_that_was_cut_off_or_refused_is_called_so() -> None:
    verdict = VerdictRule(pattern=MARKS)
    assert read(verdict, Reply(text="[[A]]", finish="length"), 2) == "cut off"
    assert read(verdict, Reply(text="", finish="content_filter"), 2) == "refused"
    assert read(verdict, Reply(text="", finish="refusal"), 2) == "refused"


@pytest.mark.parametrize(
    ("text", "path", "labels", "shares"),
    [
        ('{"winner": "B"}', "winner", {}, (0.0, 1.0)),
        ('so\n```json\n{"a": {"b": ["x", "tie"]}}\n```', "a.b.1", {"tie": "tie"}, (0.5, 0.5)),
        ('{"winner": "A"} {"winner": "B"}', "winner", {}, "unreadable"),
        ('{"score_1": 3, "score_2": 5}', ["score_1", "score_2"], {}, (0.0, 1.0)),
        ('{"score_1": 4, "score_2": 4}', ["score_1", "score_2"], {}, (0.5, 0.5)),
        ('{"scores": [4, "many"]}', "scores", {}, "unreadable"),
        ('{"ranking": 5}', "ranking", {"2": 1, "5": 2}, (0.0, 1.0)),
        ("{" * 5000, "winner", {}, "unreadable"),
    ],
)
def test_json(text: str, path: object, labels: dict[str, Any], shares: object) -> None:
    assert said(text, pattern=None, json=path, labels=labels) == shares


@pytest.mark.parametrize("rating", ["true", '"nan"', "1e999", "null", "[1]"])
def test_a_rating_is_a_number(rating: str) -> None:
    assert said(f'{{"score": {rating}}}', count=1, pattern=None, json="score") == "unreadable"
    assert said('{"score": 7.5}', count=1, pattern=None, json="score") == (7.5,)


def tops(**probabilities: float) -> Reply:
    listed = [(token, math.log(share)) for token, share in probabilities.items()]
    return Reply(text="", finish="length", tops=tuple(listed))


def test_probabilities_of_the_labels_are_compared() -> None:
    verdict = VerdictRule(tokens={"A": 1, "B": 2})
    sample = Reply(
        text="A",
        finish="length",
        tops=(("A", math.log(0.5)), (" A", math.log(0.1)), ("B", math.log(0.2))),
    )
    assert read(verdict, sample, 2) == pytest.approx((0.75, 0.25))
    assert not is_bounded(verdict, sample)
    rated = VerdictRule(tokens={"Yes": 1, "No": 0})
    assert read(rated, tops(Yes=0.6, No=0.2), 1) == pytest.approx((0.75,))
    assert read(verdict, tops(Hello=0.9), 2) == "unreadable"


def test_a_missing_label_is_taken_at_the_most_it_can_have() -> None:
    verdict = VerdictRule(tokens={"A": 1, "B": 2})
    sample = tops(A=0.6, x=0.3, y=0.1)
    assert read(verdict, sample, 2) == pytest.approx((0.6 / 0.7, 0.1 / 0.7))
    assert is_bounded(verdict, sample)


@pytest.mark.parametrize(
    "verdict",
    [
        {},
        {"pattern": "(A)", "json": "a"},
        {"pattern": "(A"},
        {"pattern": "A"},
        {"pattern": "(A)|(B)"},
    ],
)
def test_what_says_no_one_way_is_refused(verdict: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        VerdictRule(**verdict)


def test_a_sample_is_kept_and_read_back() -> None:
    sample = Reply(text="x", thought="t", finish="length", tokens=(3, 4), tops=(("A", -0.5),))
    assert Reply.unpacked(sample.packed()) == sample
    assert Reply(text="x").packed() == {"text": "x"}
