"""Does a record contradict itself? Its numbers are computed again from its own counts."""

import math
from collections.abc import Iterator, Mapping
from typing import Final

from rmbench.accuracy.aggregate import (
    Accuracy,
    average_weights,
    section_weights,
    weighted_mean,
)
from rmbench.errors import ResultError
from rmbench.result.definition import definition_of
from rmbench.result.record import GROUPS, Result
from rmbench.suite.definition import Suite

__all__ = ["check_numbers"]

# How far a number may be from the one that its counts give: rounding in the last place, or, in
# schema 1, in the sixth digit of each number that went into it.
_TOLERANCE: Final = {1: 2e-6, 2: 1e-9}
_HIGHEST: Final = 1.01  # RewardBench 2's ties may reach it
_LOWEST: Final = -0.01
_SIMPLE: Final = {"pair", "best-of"}


def check_numbers(result: Result, place: str, *, schema: int) -> None:
    """Refuse a record whose numbers cannot all be true.

    Args:
        result: as read.
        place: its file, for messages.
        schema: that it was written in.

    Raises:
        ResultError: a number is out of its range, or is not what the others give.
    """
    _check_source(result, place)
    for where, item in _accuracies(result):
        _check_accuracy(item, f"{place}: {where}", is_measured=result.source == "measured")
    _check_analyses(result, f"{place}: analyses")
    try:
        suite = definition_of(result)
    except ResultError as error:
        raise ResultError(f"{place}: {error}") from None
    if result.source == "measured":
        _check_credit(result, suite, place, schema)
        if suite is not None:
            _check_means(result, suite, place, _TOLERANCE[schema])


def _check_source(result: Result, place: str) -> None:
    named = {
        "suite.name": result.suite["name"],
        "suite.headline": result.suite["headline"],
        "model.id": result.model["id"],
    }
    for key, value in named.items():
        if not value:
            raise ResultError(f"{place}: {key} is empty; it must be a text")
    if result.source == "published" and not result.citation:
        raise ResultError(f"{place}: published numbers need a citation; add it")
    if result.source == "measured" and not result.signature:
        raise ResultError(f"{place}: measured numbers need a signature; run it again")


def _accuracies(result: Result) -> Iterator[tuple[str, Accuracy]]:
    for group in GROUPS:
        for name, item in getattr(result, group).items():
            yield f"{group}.{name}", item
    length = None if result.analyses is None else result.analyses.length
    if length is not None:
        for side in ("longer", "equal", "shorter"):
            item = getattr(length, side)
            if item is not None:
                yield f"analyses.length.{side}", item
        for number, part in enumerate(length.bins):
            yield f"analyses.length.bins[{number}]", part.accuracy


def _check_accuracy(item: Accuracy, place: str, *, is_measured: bool) -> None:
    numbers = (item.low, item.high, item.n, item.wins, item.ties)
    for name, value in (("accuracy", item.accuracy), ("low", item.low), ("high", item.high)):
        if value is not None and not _LOWEST <= value <= _HIGHEST:
            raise ResultError(f"{place}: {name} is {value!r}, not in [0, 1]; run it again")
    if None in numbers:
        if is_measured or any(value is not None for value in numbers):
            raise ResultError(
                f"{place}: a measured accuracy has low, high, n, wins and ties, a published one may"
                " have none of them; run it again"
            )
        return
    low, high, n, wins, ties = numbers
    assert low is not None and high is not None, "none of them is None"
    assert n is not None and wins is not None and ties is not None, "none of them is None"
    if min(wins, ties) < 0 or n < max(wins + ties, 1):
        raise ResultError(
            f"{place}: {n} comparisons, {wins} won and {ties} tied cannot be; run it again"
        )
    if not low - 1e-6 <= item.accuracy <= high + 1e-6:
        raise ResultError(f"{place}: the accuracy lies outside its interval; run it again")


def _check_analyses(result: Result, place: str) -> None:
    found = result.analyses
    if found is not None and found.length is not None:
        for number, part in enumerate(found.length.bins):
            if not part.low <= part.middle <= part.high:
                raise ResultError(f"{place}.length.bins[{number}]: the middle lies outside the bin")
    sure = None if found is None else found.calibration
    if sure is not None:
        shares = (sure.error, sure.brier, sure.confidence, sure.right, sure.p_value)
        known = [share for share in shares if share is not None]
        if not 0 <= sure.ties <= sure.n or not all(0.0 <= share <= 1.0 for share in known):
            raise ResultError(
                f"{place}.calibration: shares must be in [0, 1], of 1 or more comparisons"
            )


def _check_credit(result: Result, suite: Suite | None, place: str, schema: int) -> None:
    """Hold every subset's accuracy against what was won and tied of it.

    A comparison that is neither won nor tied earns nothing by the rules ``pair`` and ``best-of``,
    which were the only ones of schema 1.
    """
    tolerance = _TOLERANCE[schema]
    for name, item in result.subsets.items():
        credit = None if suite is None else suite.credit.of(name)
        rule = None if credit is None else credit.rule
        if rule not in _SIMPLE and not (rule is None and schema == 1):
            continue
        assert item.n is not None and item.wins is not None and item.ties is not None, "checked"
        least, most = item.wins / item.n, (item.wins + item.ties) / item.n
        if credit is not None and rule == "pair":
            least = most = (item.wins + credit.credit_of_tie * item.ties) / item.n
        if not least - tolerance <= item.accuracy <= most + tolerance:
            raise ResultError(
                f"{place}: subsets.{name}: accuracy {item.accuracy:.6g}, where {item.wins} of"
                f" {item.n} won and {item.ties} tied give {_span(least, most)}; the record was"
                " edited or damaged: run it again"
            )


def _span(least: float, most: float) -> str:
    return f"{least:.6g}" if least == most else f"{least:.6g} to {most:.6g}"


def _check_means(result: Result, suite: Suite, place: str, tolerance: float) -> None:
    """Hold sections and averages against the subsets that they are means of."""
    counts = {name: item.n or 0 for name, item in result.subsets.items()}
    weights = section_weights(suite, counts) if counts else {}
    means = {("sections", name): parts for name, parts in weights.items()}
    cells = {average.name for average in suite.averages if average.cells is not None}
    for name, parts in average_weights(suite, counts).items() if counts else ():
        if name not in cells:  # of which subsets have no number
            means["averages", name] = parts
    for (group, name), parts in means.items():
        item = getattr(result, group).get(name)
        finding = None if item is None else _contradiction(item, parts, result, tolerance)
        if finding:
            raise ResultError(
                f"{place}: {group}.{name}: {finding}; the record was edited or damaged: run it"
                " again"
            )


def _contradiction(
    item: Accuracy, weights: Mapping[str, float], result: Result, tolerance: float
) -> str | None:
    known = {name: part.accuracy for name, part in result.subsets.items()}
    expected = weighted_mean(known, weights)
    if not math.isclose(item.accuracy, expected, rel_tol=0.0, abs_tol=tolerance):
        return f"accuracy {item.accuracy:.6g}, where its subsets give {expected:.6g}"
    for count in ("n", "wins", "ties"):
        total = sum(getattr(result.subsets[subset], count) for subset in weights)
        if getattr(item, count) != total:
            return f"{count} {getattr(item, count)}, where its subsets have {total}"
    return None
