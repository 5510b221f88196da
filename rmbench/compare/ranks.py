"""Which places of a ranking a result can have, given what the data can tell apart."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from rmbench.accuracy.aggregate import Accuracy
from rmbench.accuracy.credit import judge
from rmbench.accuracy.intervals import Floats, weighted_interval
from rmbench.accuracy.signs import sign_test
from rmbench.answers.judgements import Judgements
from rmbench.compare.comparable import with_clusters
from rmbench.compare.family import holm
from rmbench.compare.unpaired_verdicts import unpaired_verdict
from rmbench.compare.verdict import Slice, slices_of
from rmbench.result.record import Result, subset_of
from rmbench.suite.definition import Suite

__all__ = ["Places", "places", "with_intervals"]

ALPHA: Final = 0.05
# Normal approximations decide where they are so far from the threshold, in factors of p, and tell
# enough of the exact value where so many steps are summed.
_FAR: Final = 100.0
_MANY: Final = 40


class Places(NamedTuple):
    """The places, 1 the best, that a result can have: from ``best`` to ``worst``."""

    best: int
    worst: int

    @property
    def text(self) -> str:
        """``2-4``, or ``3`` where there is one."""
        return str(self.best) if self.best == self.worst else f"{self.best}-{self.worst}"


def places(
    results: Sequence[Result], suite: Suite, name: str, *, witnesses: Sequence[Result] = ()
) -> list[Places | None]:
    """Return the places that each result can have among the others.

    Every two results are tested against each other as ``contrast.compare`` does: by the sign test
    over clusters where both have the rewards of the same comparisons, else by their accuracies and
    counts alone. P values are adjusted by Holm's method over all pairs. A result is above another
    where the adjusted value is at most 0.05 and its accuracy is higher; its places are from one
    more than there are results above it to all but those below it. With a chance of 95 % all
    results' true places are among theirs. Where another slice ranks than the headline, it was
    chosen from several: p values are first multiplied by their number.

    Args:
        results: on one suite, those that are ranked.
        suite: of all.
        name: of the section or average that ranks.
        witnesses: other results on the suite, which are not ranked and may know its counts.

    Returns:
        None for a result that lacks the slice, and for all where no result has any counts.

    Source: M. Mogstad, J. P. Romano, A. M. Shaikh, D. Wilhelm (2024), Review of Economic Studies
    91:476-518; M. Klein, T. Wright, J. Wieczorek (2020), J. Royal Statistical Society A
    183:589-606.
    """
    numbers = [result.find(name) for result in results]
    results = with_clusters(results, suite)
    counts = _counts([*results, *witnesses])
    ranked = [i for i, item in enumerate(numbers) if item is not None]
    if counts is None:
        return [None] * len(results)
    contest = _Contest(suite, name, [results[i] for i in ranked], (counts, witnesses))
    above, below = np.zeros(len(results), int), np.zeros(len(results), int)
    for first, second in contest.decided():
        a, b = numbers[ranked[first]], numbers[ranked[second]]
        assert a is not None and b is not None, "only those are ranked"
        higher, lower = (first, second) if a.accuracy > b.accuracy else (second, first)
        above[ranked[lower]] += 1
        below[ranked[higher]] += 1
    found: list[Places | None] = [None] * len(results)
    for i in ranked:
        found[i] = Places(1 + int(above[i]), len(ranked) - int(below[i]))
    return found


def _counts(results: Sequence[Result]) -> dict[str, int] | None:
    """Return the comparisons per subset, from the first result that has them."""
    for result in results:
        found = {name: item.n for name, item in result.subsets.items() if item.n is not None}
        if found:
            return found
    return None


def with_intervals(results: Sequence[Result], suite: Suite) -> list[Result]:
    """Return results, published ones with the intervals that the suite's counts give their numbers.

    Counts and design effects are those of the measured results among them; without any, the
    published ones come back as they are. A published section or average counts as one proportion of
    as many comparisons as would vary like a weighted mean of equal accuracies.
    """
    counts = _counts(results)
    if counts is None:
        return list(results)
    parts = {(part.level, part.name): part for part in slices_of(suite, counts)}
    witnesses = [result for result in results if result.source == "measured"]
    return [
        _filled(result, parts, counts, witnesses) if result.source == "published" else result
        for result in results
    ]


def _filled(
    result: Result,
    parts: Mapping[tuple[str, str], Slice],
    counts: Mapping[str, int],
    witnesses: Sequence[Result],
) -> Result:
    groups: dict[str, dict[str, Accuracy]] = {}
    for level in ("section", "average"):
        known: Mapping[str, Accuracy] = getattr(result, f"{level}s")
        groups[f"{level}s"] = dict(known)
        for name, item in known.items():
            part = parts.get((level, name))
            if part is None or item.low is not None:
                continue
            verdict = unpaired_verdict(part, (result, result), counts, witnesses)
            assert verdict is not None, "it has the slice"
            strata = [verdict.old] if len(verdict.counts) == 1 else _accuracies(result, part)
            low, high = weighted_interval(np.array(strata), verdict.counts, verdict.weights)
            groups[f"{level}s"][name] = replace(item, low=low, high=high)
    return result.model_copy(update=groups)


def _accuracies(result: Result, part: Slice) -> list[float]:
    return [result.subsets[name].accuracy for name in part.weights]


# --- every pair ----------------------------------------------------------------------------------


class _Scored(NamedTuple):
    """A result's credits by comparison, NaN for dropped ones, in the order of its ids.

    ``texts`` is a number for what was scored, equal for equal ids and digests; ``sizes`` counts the
    comparisons of each subset where none was dropped, and is None where one was.
    """

    texts: int
    credit: Floats
    clusters: npt.NDArray[np.int64] | None
    subsets: npt.NDArray[np.int64]
    sizes: tuple[int, ...] | None


def _numbered(
    clusters: npt.NDArray[np.int64] | None, order: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64] | None:
    """Return clusters in another order, numbered from 0 on."""
    if clusters is None:
        return None
    return np.unique(clusters[order], return_inverse=True)[1].astype(np.int64)


class _Contest:
    """All pairs of some results, tested in one slice."""

    def __init__(
        self,
        suite: Suite,
        name: str,
        results: Sequence[Result],
        known: tuple[Mapping[str, int], Sequence[Result]],
    ) -> None:
        self.suite, self.name, self.results = suite, name, results
        self.counts, others = known
        counts = self.counts
        self.names = list(counts)
        self.texts: dict[tuple[object, ...], int] = {}
        self.scales: dict[tuple[int, tuple[int, ...]], Floats | None] = {}
        self.scored = [self._score(result) for result in results]
        self.pairs = list(combinations(range(len(results)), 2))
        self.steps: dict[int, Floats] = {}
        self.witnesses = [item for item in (*results, *others) if item.source == "measured"]

    def _score(self, result: Result) -> _Scored | None:
        """Return credits in the order of their ids, so that those of two results stand together."""
        if not result.rewards:
            return None
        columns = Judgements.of(result.rewards)
        order = np.argsort(np.array(columns.ids), kind="stable")
        ids = tuple(columns.ids[i] for i in order.tolist())
        places = {name: number for number, name in enumerate(self.names)}
        if any(name not in places for name in result.subsets):
            return None
        found = [places[subset_of(identity, result.subsets)] for identity in ids]
        subsets = np.array(found)
        in_order = np.empty_like(subsets)
        in_order[order] = subsets
        credit = judge(self.suite, columns).values(in_order)[order]
        return _Scored(
            texts=self.texts.setdefault((result.suite.get("sha256"), ids), len(self.texts)),
            credit=credit,
            clusters=_numbered(columns.clusters, order),
            subsets=subsets,
            sizes=None if np.isnan(credit).any() else self._sizes(subsets),
        )

    def _sizes(self, subsets: npt.NDArray[np.int64]) -> tuple[int, ...]:
        return tuple(np.bincount(subsets, minlength=len(self.names)).tolist())

    def decided(self) -> Iterator[tuple[int, int]]:
        """Yield the pairs that differ, as positions among the results."""
        if not self.pairs:
            return
        factor = self._family()
        p = np.array([self._approximate(number) for number in range(len(self.pairs))])
        exact = np.array([number not in self.steps for number in range(p.size)])
        while True:
            adjusted = np.array(holm(np.minimum(p * factor, 1.0)))
            least = ALPHA / max(1, int((adjusted > ALPHA).sum())) / factor
            unsure = ~exact & (p > least / _FAR) & (p < least * _FAR)
            if not unsure.any():
                break
            for number in np.flatnonzero(unsure).tolist():
                p[number] = sign_test(self.steps[number]).p_value
                exact[number] = True
        for number in np.flatnonzero(adjusted <= ALPHA).tolist():
            yield self.pairs[number]

    def _family(self) -> int:
        """Return from how many slices the one that ranks was chosen."""
        if self.name == self.suite.headline:
            return 1
        return len(self.suite.sections) + len(self.suite.averages) - 1

    def _approximate(self, number: int) -> float:
        """Return a pair's p value: exact where that costs little, else of a normal sum of steps."""
        first, second = self.pairs[number]
        steps = self._paired(first, second)
        if steps is None:
            return self._unpaired(first, second)
        moved = steps[steps != 0.0]
        if moved.size < _MANY:
            return sign_test(steps).p_value
        self.steps[number] = moved
        z = abs(float(moved.sum())) / math.sqrt(float(moved @ moved))
        return max(math.erfc(z / math.sqrt(2.0)), 1e-300)

    def _paired(self, first: int, second: int) -> Floats | None:
        """Return what each cluster adds to a pair's difference; None where they are not paired."""
        old, new = self.scored[first], self.scored[second]
        if old is None or new is None or old.texts != new.texts:
            return None
        changes: Floats = new.credit - old.credit
        sizes = old.sizes
        if sizes is None or new.sizes is None:
            sizes = self._sizes(old.subsets[~np.isnan(changes)])
            changes = np.nan_to_num(changes)
        scale = self._scale(old, sizes)
        if scale is None:
            return np.zeros(1)
        steps: Floats = changes * scale
        clusters = old.clusters if new.clusters is None else new.clusters
        if clusters is None:
            return steps
        sums: Floats = np.bincount(clusters, weights=steps).astype(np.float64)
        return sums

    def _scale(self, scored: _Scored, sizes: tuple[int, ...]) -> Floats | None:
        """Return by how much each comparison moves the slice; None where the slice is not there."""
        key = scored.texts, sizes
        if key not in self.scales:
            counted = dict(zip(self.names, sizes, strict=True))
            part = self._slice({name: size for name, size in counted.items() if size})
            if part is None:
                self.scales[key] = None
            else:
                total = sum(part.weights.values())
                share = [part.weights.get(n, 0.0) / total / max(k, 1) for n, k in counted.items()]
                self.scales[key] = np.array(share)[scored.subsets]
        return self.scales[key]

    def _slice(self, counts: Mapping[str, int]) -> Slice | None:
        parts = slices_of(self.suite, counts)
        return next((p for p in parts if p.name == self.name and p.level != "subset"), None)

    def _unpaired(self, first: int, second: int) -> float:
        """Return the p value of a pair of which one has no rewards; 1 for two sets of texts."""
        old, new = (self.results[i] for i in (first, second))
        digests = {item.suite.get("sha256") for item in (old, new)} - {None}
        own = [_counts([item]) for item in (new, old)]
        counts = next((item for item in own if item is not None), self.counts)
        witnesses = (old, new) if any(own) else self.witnesses
        part = self._slice(counts)
        if part is None or len(digests) > 1:
            return 1.0
        verdict = unpaired_verdict(part, (old, new), counts, witnesses)
        return 1.0 if verdict is None or verdict.difference is None else verdict.difference.p_value
