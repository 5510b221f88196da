"""Verdicts from the rewards of both results, comparison by comparison."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from rmbench.accuracy.clusters import sample_of
from rmbench.accuracy.credit import judge
from rmbench.accuracy.intervals import Floats
from rmbench.answers.judgements import Judgements
from rmbench.compare.comparable import (
    title_of,
)
from rmbench.compare.paired import paired_difference
from rmbench.compare.verdict import Slice, Verdict, slices_of, untested_verdicts
from rmbench.errors import ResultError
from rmbench.result.record import Result, subset_of
from rmbench.suite.definition import Suite
from rmbench.wording import counted

__all__ = ["clusters_of", "credits_of", "has_distinct", "paired_verdicts"]


class _Pairs(NamedTuple):
    """What both results scored: one entry per comparison, subsets by position in ``names``.

    ``sides`` has old and new values, by the cells of the rule ``styles``; None stands for all.
    """

    names: list[str]
    subsets: npt.NDArray[np.int64]
    sides: Mapping[str | None, tuple[Floats, Floats]]
    clusters: npt.NDArray[np.int64] | None

    def counts(self) -> dict[str, int]:
        """Return the comparisons per subset, of subsets that have any."""
        sizes = np.bincount(self.subsets, minlength=len(self.names)).tolist()
        return {name: n for name, n in zip(self.names, sizes, strict=True) if n}


def paired_verdicts(old: Result, new: Result, suite: Suite) -> tuple[list[Verdict], int]:
    """Return the verdicts, and how many comparisons only one of the two scored."""
    pairs, missing = _match(old, new, suite)
    slices = slices_of(suite, pairs.counts())
    verdicts = [_paired_verdict(part, pairs) for part in slices]
    return [*verdicts, *untested_verdicts(verdicts, old, new)], missing


def _match(old: Result, new: Result, suite: Suite) -> tuple[_Pairs, int]:
    ids = [[item.id for item in result.rewards] for result in (old, new)]
    if set(ids[0]) != set(ids[1]):
        odd = sorted(set(ids[0]) ^ set(ids[1]))
        raise ResultError(
            f"{title_of(old)} and {title_of(new)} are not comparable:"
            f' {counted(len(odd), "comparisons")} only in one of them, such as "{odd[0]}"; run both'
            " on the same data"
        )
    names = list(new.subsets)
    position = {name: i for i, name in enumerate(names)}
    subsets = np.array([position[subset_of(identity, names)] for identity in ids[1]])
    place = {identity: i for i, identity in enumerate(ids[0])}
    order = np.array([place[identity] for identity in ids[1]])
    before, after = judge(suite, old.rewards), judge(suite, new.rewards)
    own = np.empty_like(subsets)  # of the old result's comparisons, in their own order
    own[order] = subsets
    sides = {
        cells: (before.values(own, cells)[order], after.values(subsets, cells))
        for cells in (None, *after.cells)
    }
    first, second = sides[None]
    both = ~(np.isnan(first) | np.isnan(second))
    if not both.any():
        raise ResultError(f"{title_of(old)} and {title_of(new)}: no comparison was scored by both")
    clusters = clusters_of(old, new)
    pairs = _Pairs(
        names=names,
        subsets=subsets[both],
        sides={cells: (one[both], two[both]) for cells, (one, two) in sides.items()},
        # Numbered again, since those of a record may be of any size.
        clusters=None if clusters is None else np.unique(clusters[both], return_inverse=True)[1],
    )
    return pairs, int((np.isnan(first) != np.isnan(second)).sum())


def clusters_of(old: Result, new: Result) -> npt.NDArray[np.int64] | None:
    """Return the clusters of the new result's comparisons, from either; None if neither has any."""
    found = Judgements.of(new.rewards).clusters
    if found is not None:
        return found
    before = Judgements.of(old.rewards)
    if before.clusters is None:
        return None
    by_id = dict(zip(before.ids, before.clusters.tolist(), strict=True))
    return np.array([by_id[item.id] for item in new.rewards if item.id in by_id])


def has_distinct(old: Result, new: Result) -> bool:
    """Return whether either record says that every comparison is a sample of its own."""
    return any(
        item.suite.get("clusters") and item.suite.get("clusters") == item.suite.get("comparisons")
        for item in (old, new)
    )


def credits_of(result: Result, suite: Suite) -> dict[str, float | None]:
    """Return what each comparison earns, by id, in [0, 1]; None for a dropped one."""
    outcomes = judge(suite, result.rewards)
    return {
        item.id: None if outcome is None else outcome.credit
        for item, outcome in zip(result.rewards, outcomes, strict=True)
    }


def _paired_verdict(part: Slice, pairs: _Pairs) -> Verdict:
    weighed = [name for name in pairs.names if part.weights.get(name)]
    weights = np.array([part.weights[name] for name in weighed])
    positions = np.array([pairs.names.index(name) for name in weighed])
    mask = np.isin(pairs.subsets, positions)
    strata = np.searchsorted(positions, pairs.subsets[mask])
    first, second = pairs.sides[part.cells]
    sample = sample_of(
        second[mask] - first[mask],
        strata,
        weights=weights,
        clusters=None if pairs.clusters is None else pairs.clusters[mask],
    )
    sides = [sample._replace(values=side[mask]).means() for side in (first, second)]
    steps, counts = sample.values, sample.counts
    return Verdict(
        level=part.level,
        name=part.name,
        old=float(sides[0] @ sample.weights),
        new=float(sides[1] @ sample.weights),
        n=int(np.isin(pairs.subsets, [pairs.names.index(name) for name in part.weights]).sum()),
        difference=paired_difference(sample),
        gained=int((steps > 0.0).sum()),
        lost=int((steps < 0.0).sum()),
        discordance=tuple((sample.per_stratum(steps**2) / counts).tolist()),
        counts=tuple(counts.tolist()),
        weights=tuple(sample.weights.tolist()),
        steps=_whole_steps(pairs, mask, steps * sample.shares),
    )


def _whole_steps(pairs: _Pairs, mask: npt.NDArray[np.bool_], steps: Floats) -> Floats:
    """Return the steps of a slice by cluster of the whole suite, 0 where it has none."""
    everywhere = np.zeros(mask.size)
    everywhere[mask] = steps
    if pairs.clusters is None:
        return everywhere
    return np.bincount(pairs.clusters, weights=everywhere).astype(np.float64)
