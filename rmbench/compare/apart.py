"""A result's numbers on some of its comparisons, and on the others."""

from collections.abc import Collection
from typing import NamedTuple

from rmbench.accuracy.aggregate import Summary, summarize
from rmbench.accuracy.credit import judge
from rmbench.answers.judgements import Judgements
from rmbench.errors import ResultError
from rmbench.result.record import Result, subset_of
from rmbench.suite.definition import Suite

__all__ = ["Apart", "set_apart"]


class Apart(NamedTuple):
    """What a result says of all comparisons, of some, and of the rest; None of none."""

    whole: Summary
    some: Summary | None
    rest: Summary | None


def set_apart(result: Result, suite: Suite, ids: Collection[str]) -> Apart:
    """Return a result's numbers with, on and without some of its comparisons.

    A section or an average is left out where one of its subsets has no comparison.

    Args:
        result: with its rewards.
        suite: of the result.
        ids: the comparisons to set apart.

    Raises:
        ResultError: the result has no rewards.
    """
    if not result.rewards:
        raise ResultError(
            f"{result.model['id']} on {suite.name}: has no rewards to set some apart; run it here"
        )
    chosen = set(ids)
    every = [number for number, _ in enumerate(result.rewards)]
    marked = [item.id in chosen for item in result.rewards]
    some = [number for number in every if marked[number]]
    rest = [number for number in every if not marked[number]]
    whole = _summary(result, suite, every)
    assert whole is not None, "a result has comparisons"
    return Apart(whole, _summary(result, suite, some), _summary(result, suite, rest))


def _summary(result: Result, suite: Suite, numbers: list[int]) -> Summary | None:
    columns = Judgements.of([result.rewards[number] for number in numbers])
    outcomes = judge(suite, columns)
    kept = ~outcomes.dropped
    if not kept.any():
        return None
    names = list(result.subsets)
    subsets = [subset_of(identity, names) for identity in columns.ids]
    scored = {name for name, is_kept in zip(subsets, kept.tolist(), strict=True) if is_kept}
    if scored != set(subsets):  # a subset of which all were dropped counts nowhere
        numbers = [i for i, name in zip(numbers, subsets, strict=True) if name in scored]
        return _summary(result, suite, numbers)
    return summarize(suite, subsets, outcomes, partial=True, clusters=columns.clusters)
