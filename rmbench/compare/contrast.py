"""Two results in, verdicts out: which subsets, sections and averages changed beyond chance."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from rmbench.accuracy.aggregate import Accuracy, average_weights, section_weights
from rmbench.accuracy.agreement import Agreement, agreement
from rmbench.accuracy.clusters import sample_of
from rmbench.accuracy.credit import judge
from rmbench.accuracy.intervals import Floats
from rmbench.answers.judgements import Judgements
from rmbench.compare.comparable import (
    changed_settings,
    check_comparable,
    check_rewards,
    title_of,
    told_unpaired,
    with_clusters,
    with_means,
)
from rmbench.compare.family import holm, max_t
from rmbench.compare.paired import Difference, Strata, paired_difference, unpaired_difference
from rmbench.compare.power import Trial, detectable_drop
from rmbench.errors import ResultError
from rmbench.result.record import Result, subset_of
from rmbench.suite.definition import Suite
from rmbench.wording import counted

__all__ = [
    "Contrast",
    "Slice",
    "Verdict",
    "clusters_of",
    "compare",
    "credits_of",
    "family_of",
    "slices_of",
    "stacked_steps",
    "unpaired_verdict",
]

LEVELS: Final = ("subset", "section", "average")
_ALPHA: Final = 0.05
UNKNOWN_CLUSTERS: Final = (
    "which comparisons share a prompt is not recorded: each counts as a sample of its own, so that"
    " p values may be too small and intervals too narrow; run one of the two again"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What became of one slice.

    Attributes:
        level: ``subset``, ``section`` or ``average``.
        name: of the slice.
        old: accuracy in [0, 1] on the compared comparisons; None where it is not known.
        new: likewise.
        n: compared comparisons; None when a result has no counts.
        difference: new minus old with interval and p values; None when it cannot be tested.
        adjusted: the two-sided p value, adjusted for the other slices of its family, see
            ``compare``.
        gained: comparisons that earn more than before; None when not paired.
        lost: comparisons that earn less.
        discordance: mean squared difference of credits in each stratum, as
            ``power.detectable_drop`` takes it.
        counts: comparisons in each stratum, or as many as would vary as much.
        weights: of each stratum in the slice.
        steps: what each cluster adds to the difference, the same clusters for every slice; None
            when not paired.
    """

    level: str
    name: str
    old: float | None = None
    new: float | None = None
    n: int | None = None
    difference: Difference | None = None
    adjusted: float | None = None
    gained: int | None = None
    lost: int | None = None
    discordance: tuple[float, ...] = ()
    counts: tuple[float, ...] = ()
    weights: tuple[float, ...] = ()
    steps: Floats | None = field(default=None, repr=False, compare=False)

    def detectable(self, alpha: float, *, power: float = 0.8) -> float | None:
        """Return the smallest difference, in [0, 1], that a one-sided test at alpha would find.

        Args:
            alpha: of the test, after what it is divided by for other tests.
            power: the chance to find it.

        Returns:
            None where it cannot be tested, or so few comparisons cannot show any.
        """
        if self.difference is None:
            return None
        try:
            return detectable_drop(
                self.discordance,
                self.counts,
                weights=self.weights,
                trial=Trial(alpha, power),
                design=max(self.difference.design, 1e-6),
            )
        except ValueError:  # so few comparisons that even losing all of them could be chance
            return None

    def mark(self, alpha: float) -> str:
        """Return ``+`` for better, ``-`` for worse, ``x`` for not comparable, else nothing."""
        if self.difference is None or self.adjusted is None:
            return "x"
        if self.adjusted > alpha:
            return ""
        return "+" if self.difference.estimate > 0.0 else "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """Two results of one suite, slice by slice.

    Attributes:
        old: what is compared with.
        new: what is compared.
        suite: of both.
        paired: whether the tests saw both results' comparisons, not only their counts.
        verdicts: subsets in the data's order, then sections and averages in the suite's.
        changed: what differs between the runs that can move a reward: name, old, new.
        agreement: on how many comparisons both end alike; None when not paired.
        notes: what limits the comparison, one sentence each.
    """

    old: Result
    new: Result
    suite: Suite
    paired: bool
    verdicts: tuple[Verdict, ...]
    changed: tuple[tuple[str, str, str], ...]
    notes: tuple[str, ...]
    agreement: Agreement | None = None

    def level(self, *names: str) -> list[Verdict]:
        """Return the verdicts of these levels."""
        return [verdict for verdict in self.verdicts if verdict.level in names]


def compare(old: Result, new: Result, suite: Suite) -> Contrast:
    """Compare two results of one suite, paired where both have their rewards.

    Every slice is tested by the exact sign test over clusters (``signs.sign_test``), which is
    McNemar's exact test where no cluster repeats and every comparison weighs the same. The headline
    is one question, named before any data were seen, and stands alone: its p value is adjusted for
    nothing. The other averages and the sections are a second family, the subsets a third; within
    each the chance of any false mark is kept at alpha by the maximum of the tests
    (``family.max_t``). Where a result has only accuracies, the tests are unpaired
    (``paired.unpaired_difference``), and adjusted by Holm's method.

    Args:
        old: what is compared with; a difference is new minus old.
        new: what is compared.
        suite: of both, see ``suite_of``.

    Raises:
        ResultError: the two are not comparable: other data, or one is only part of a run.
    """
    notes = check_comparable(old, new)
    old, new = with_clusters([with_means(item, suite) for item in (old, new)], suite)
    for item in (old, new):
        if item.rewards:
            check_rewards(item, suite)
    if old.rewards and new.rewards:
        verdicts, missing = _paired(old, new, suite)
        if missing:
            dropped = counted(missing, "comparisons that one of the two dropped")
            notes.append(f"left out of both: {dropped}")
        if clusters_of(old, new) is None and not _has_distinct(old, new):
            notes.append(UNKNOWN_CLUSTERS)
    else:
        notes.append(told_unpaired(old, new))
        verdicts = _unpaired(old, new, suite)
    return Contrast(
        old=old,
        new=new,
        suite=suite,
        paired=bool(old.rewards and new.rewards),
        verdicts=_adjusted(verdicts, suite),
        changed=changed_settings(old, new),
        notes=tuple(notes),
        agreement=_agreement(old, new, suite),
    )


# --- slices --------------------------------------------------------------------------------------


class Slice(NamedTuple):
    """A subset, section or average, and the weight of each of its subsets.

    ``cells`` says which cells of the rule ``styles`` count; None for all of them.
    """

    level: str
    name: str
    weights: Mapping[str, float]
    cells: str | None = None


def slices_of(suite: Suite, counts: Mapping[str, int]) -> list[Slice]:
    """Return the slices that can be had from comparisons in these subsets."""
    sections = section_weights(suite, counts)
    averages = average_weights(suite, counts)
    cells = {average.name: average.cells for average in suite.averages}
    return [
        *(Slice("subset", name, {name: 1.0}) for name in counts),
        *(Slice("section", name, weights) for name, weights in sections.items()),
        *(Slice("average", name, parts, cells.get(name)) for name, parts in averages.items()),
    ]


def _absent(found: Sequence[Verdict], old: Result, new: Result) -> list[Verdict]:
    """Return a verdict without a test for each slice of a record that could not be compared."""
    known = {(verdict.level, verdict.name) for verdict in found}
    rows = []
    for level in LEVELS:
        before, after = _group(old, level), _group(new, level)
        for name in dict.fromkeys((*before, *after)):
            if (level, name) not in known:
                first, second = before.get(name), after.get(name)
                accuracies = [None if item is None else item.accuracy for item in (first, second)]
                rows.append(Verdict(level=level, name=name, old=accuracies[0], new=accuracies[1]))
    return rows


def _group(result: Result, level: str) -> Mapping[str, Any]:
    group: Mapping[str, Any] = getattr(result, f"{level}s")
    return group


def _adjusted(verdicts: Sequence[Verdict], suite: Suite) -> tuple[Verdict, ...]:
    """Return the verdicts by level, their p values adjusted within their families."""
    ordered = [item for level in LEVELS for item in verdicts if item.level == level]
    tested = [item for item in ordered if item.difference is not None]
    families: dict[str, list[Verdict]] = {}
    for item in tested:
        families.setdefault(family_of(item, suite), []).append(item)
    found = {
        (item.level, item.name): p
        for members in families.values()
        for item, p in zip(members, _family(members), strict=True)
    }
    return tuple(replace(item, adjusted=found.get((item.level, item.name))) for item in ordered)


def family_of(verdict: Verdict, suite: Suite) -> str:
    """Return which tests a slice is adjusted with: ``headline``, ``section`` or ``subset``."""
    if verdict.level == "average" and verdict.name == suite.headline:
        return "headline"
    return "subset" if verdict.level == "subset" else "section"


def _family(members: Sequence[Verdict]) -> Sequence[float]:
    p_values = [item.difference.p_value for item in members if item.difference is not None]
    steps = stacked_steps(members)
    if len(members) == 1:
        return p_values
    return holm(p_values) if steps is None else max_t(steps, p_values, alpha=_ALPHA).adjusted


def stacked_steps(verdicts: Sequence[Verdict]) -> Floats | None:
    """Return the steps of some slices, shape (clusters, slices); None when not paired."""
    columns = [item.steps for item in verdicts if item.steps is not None]
    return np.column_stack(columns) if len(columns) == len(verdicts) else None


# --- paired --------------------------------------------------------------------------------------


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


def _paired(old: Result, new: Result, suite: Suite) -> tuple[list[Verdict], int]:
    """Return the verdicts, and how many comparisons only one of the two scored."""
    pairs, missing = _match(old, new, suite)
    slices = slices_of(suite, pairs.counts())
    verdicts = [_paired_verdict(part, pairs) for part in slices]
    return [*verdicts, *_absent(verdicts, old, new)], missing


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
        # Numbered anew, since those of a record may be of any size.
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


def _has_distinct(old: Result, new: Result) -> bool:
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


def _agreement(old: Result, new: Result, suite: Suite) -> Agreement | None:
    if not (old.rewards and new.rewards):
        return None
    before = {
        item.id: outcome
        for item, outcome in zip(old.rewards, judge(suite, old.rewards), strict=True)
    }
    return agreement([before[item.id] for item in new.rewards], judge(suite, new.rewards))


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


# --- unpaired ------------------------------------------------------------------------------------


def _unpaired(old: Result, new: Result, suite: Suite) -> list[Verdict]:
    counts = {name: item.n for name, item in new.subsets.items() if item.n is not None}
    counts = counts or {name: item.n for name, item in old.subsets.items() if item.n is not None}
    # Without any count, as between two cards, nothing says how much chance there is.
    slices = slices_of(suite, counts) if counts else []
    verdicts = [unpaired_verdict(part, (old, new), counts, (old, new)) for part in slices]
    tested = [verdict for verdict in verdicts if verdict is not None]
    return [*tested, *_absent(tested, old, new)]


def unpaired_verdict(
    part: Slice, sides: Sequence[Result], counts: Mapping[str, int], witnesses: Sequence[Result]
) -> Verdict | None:
    """Compare two results by a slice's accuracies alone.

    Subsets are used where both have them, else the slice's own numbers.

    Args:
        part: a slice whose subsets all have a count.
        sides: the old and the new result.
        counts: comparisons per subset.
        witnesses: results whose design effects are taken for those of both.

    Returns:
        None where one of the two has not the slice.
    """
    sizes = np.array([counts[name] for name in part.weights], dtype=np.float64)
    sizes = np.maximum(sizes / _design(part, witnesses), 1.0)
    weights = np.array(list(part.weights.values()))
    if all(name in result.subsets for result in sides for name in part.weights):
        known = [[result.subsets[name].accuracy for name in part.weights] for result in sides]
    else:
        whole = [_group(result, part.level).get(part.name) for result in sides]
        if whole[0] is None or whole[1] is None:
            return None
        known = [[whole[0].accuracy], [whole[1].accuracy]]
        # As many comparisons as would vary like this weighted mean of equal accuracies:
        # (sum w)^2 / sum(w^2 / n); Kish (1965), Survey sampling, section 11.7.
        sizes = np.array([weights.sum() ** 2 / (weights**2 / sizes).sum()])
        weights = np.array([1.0])
    before, after = (np.array(side) for side in known)
    found = unpaired_difference(Strata(after, sizes), Strata(before, sizes), weights=weights)
    shares = weights / weights.sum()
    return Verdict(
        level=part.level,
        name=part.name,
        old=float(before @ shares),
        new=float(after @ shares),
        n=sum(counts[name] for name in part.weights),
        difference=found,
        # What two independent results would disagree on.
        discordance=tuple((after * (1.0 - before) + before * (1.0 - after)).tolist()),
        counts=tuple(sizes.tolist()),
        weights=tuple(weights.tolist()),
    )


def _design(part: Slice, witnesses: Sequence[Result]) -> float:
    """Return the largest design effect of a slice that is known; at least 1."""
    found: list[Accuracy | None] = [_group(item, part.level).get(part.name) for item in witnesses]
    known = [item.design_effect for item in found if item is not None]
    return max(1.0, *(effect for effect in known if effect is not None), 1.0)
