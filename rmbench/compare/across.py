"""The mean of several suites' numbers: a prompt that suites share is one sample."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from rmbench.accuracy.aggregate import Accuracy
from rmbench.accuracy.clusters import sample_of, value_interval
from rmbench.accuracy.credit import judge
from rmbench.accuracy.intervals import Floats, as_floats, normalised
from rmbench.answers.judgements import Judgements
from rmbench.compare.verdict import slices_of
from rmbench.result.record import Result, subset_of
from rmbench.suite.definition import Suite

__all__ = ["SuiteNumber", "group_mean"]


class SuiteNumber(NamedTuple):
    """One number of a mean: a section or average of a result, and its weight."""

    result: Result
    suite: Suite
    number: str
    weight: float


class _Scored(NamedTuple):
    """What a part adds to a mean, comparison by comparison."""

    values: Floats
    strata: npt.NDArray[np.int64]
    weights: Floats
    clusters: npt.NDArray[np.int64] | None
    span: tuple[float, float]


def group_mean(parts: Sequence[SuiteNumber]) -> Accuracy:
    """Return the weighted mean of some numbers of a model, with its interval where it can be had.

    Without a prompt in two of them its variance is the sum of v^2 V, v the share of each number; a
    prompt that several have is one cluster over all of them.

    Args:
        parts: one or more; each result has the number.

    Returns:
        An accuracy without an interval where a result has no answers, as published ones.
    """
    shares = normalised(as_floats("weights", [part.weight for part in parts])).tolist()
    numbers = [part.result.find(part.number) for part in parts]
    mean = sum(s * n.accuracy for s, n in zip(shares, numbers, strict=True) if n is not None)
    scored = [_scored(part) for part in parts]
    known = [item for item in scored if item is not None]
    if len(known) < len(parts):
        return Accuracy(accuracy=mean)
    strata, weights, clusters, offset, alone = [], [], [], 0, -1
    for item, share in zip(known, shares, strict=True):
        strata.append(item.strata + offset)
        weights.append(share * item.weights)
        offset += item.weights.size
        own = item.clusters
        if own is None:  # nothing repeats: each is a sample of its own
            own = alone - np.arange(item.values.size)
            alone -= item.values.size
        clusters.append(own)
    sample = sample_of(
        np.concatenate([item.values for item in known]),
        np.concatenate(strata),
        weights=np.concatenate(weights),
        clusters=np.concatenate(clusters),
    )
    lows, highs = zip((0.0, 1.0), *(item.span for item in known), strict=True)
    found = value_interval(sample, span=(min(lows), max(highs)))
    return Accuracy(
        accuracy=mean,
        low=min(found.interval.low, mean),
        high=max(found.interval.high, mean),
        n=sample.values.size,
        design_effect=found.design,
    )


def _scored(part: SuiteNumber) -> _Scored | None:
    """Return the comparisons of a number; None where the result has no answers."""
    if not part.result.rewards:
        return None
    columns = Judgements.of(part.result.rewards)
    outcomes = judge(part.suite, columns)
    kept = ~outcomes.dropped
    subsets = [subset_of(identity, part.result.subsets) for identity in columns.ids]
    counts: dict[str, int] = {}
    for name, is_kept in zip(subsets, kept.tolist(), strict=True):
        counts[name] = counts.get(name, 0) + is_kept
    own = _slice_weights(part, {name: n for name, n in counts.items() if n})
    if own is None:
        return None
    weights, cells = own
    every = {name: number for number, name in enumerate(dict.fromkeys(subsets))}
    values = outcomes.values(np.array([every[name] for name in subsets]), cells)
    place = {name: number for number, name in enumerate(weights)}
    strata = np.array([place.get(name, -1) for name in subsets])
    mask = kept & (strata >= 0)
    spans = [whole.span for whole in outcomes.wholes]
    return _Scored(
        values=values[mask],
        strata=strata[mask],
        weights=normalised(as_floats("weights", list(weights.values()))),
        clusters=None if columns.clusters is None else columns.clusters[mask],
        span=(min([0.0, *(s[0] for s in spans)]), max([1.0, *(s[1] for s in spans)])),
    )


def _slice_weights(
    part: SuiteNumber, counts: Mapping[str, int]
) -> tuple[Mapping[str, float], str | None] | None:
    for item in slices_of(part.suite, counts):
        if item.level != "subset" and item.name == part.number:
            return item.weights, item.cells
    return None
