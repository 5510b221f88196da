"""Two results in, verdicts out: which subsets, sections and averages changed beyond chance."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from rmbench.accuracy.aggregate import average_weights, section_weights
from rmbench.accuracy.analysis import Agreement, agreement
from rmbench.accuracy.credit import judge
from rmbench.accuracy.intervals import Floats
from rmbench.compare.comparable import (
    changed_settings,
    check_comparable,
    check_rewards,
    title_of,
    told_unpaired,
    with_means,
)
from rmbench.compare.paired import (
    Difference,
    Resampling,
    Strata,
    holm,
    mcnemar,
    paired_difference,
    unpaired_difference,
)
from rmbench.errors import ResultError
from rmbench.result.record import Result, subset_of
from rmbench.suite.definition import Suite
from rmbench.wording import counted

__all__ = ["Contrast", "Verdict", "compare", "credits_of"]

LEVELS: Final = ("subset", "section", "average")


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
        adjusted: the two-sided p value after Holm's method over the slices of this level.
        gained: comparisons that earn more than before; None when not paired.
        lost: comparisons that earn less.
        discordance: mean squared difference of credits in each stratum, as
            ``difference.detectable_drop`` takes it.
        counts: comparisons in each stratum.
        weights: of each stratum in the slice.
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
    counts: tuple[int, ...] = ()
    weights: tuple[float, ...] = ()

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

    Subsets, and sections and averages in which every comparison weighs the same, are tested with
    McNemar's exact test where all credits are 0 or 1; everything else with a sign-flip permutation
    test that is stratified by subset and seeded (``difference.paired_difference``), which is also
    where every interval comes from. P values are adjusted by Holm's method within each level. Where
    a result has only accuracies, the test is unpaired (``difference.unpaired_difference``).

    Args:
        old: what is compared with; a difference is new minus old.
        new: what is compared.
        suite: of both, see ``suite_of``.

    Raises:
        ResultError: the two are not comparable: other data, or one is only part of a run.
    """
    notes = check_comparable(old, new)
    old, new = with_means(old, suite), with_means(new, suite)
    for item in (old, new):
        if item.rewards:
            check_rewards(item, suite)
    if old.rewards and new.rewards:
        verdicts, missing = _paired(old, new, suite)
        if missing:
            dropped = counted(missing, "comparisons that one of the two dropped")
            notes.append(f"left out of both: {dropped}")
    else:
        notes.append(told_unpaired(old, new))
        verdicts = _unpaired(old, new, suite)
    return Contrast(
        old=old,
        new=new,
        suite=suite,
        paired=bool(old.rewards and new.rewards),
        verdicts=_adjusted(verdicts),
        changed=changed_settings(old, new),
        notes=tuple(notes),
        agreement=_agreement(old, new, suite),
    )


# --- slices --------------------------------------------------------------------------------------


class _Slice(NamedTuple):
    """A subset, section or average, and the weight of each of its subsets."""

    level: str
    name: str
    weights: Mapping[str, float]


def _slices(suite: Suite, counts: Mapping[str, int]) -> list[_Slice]:
    """Return the slices that can be had from comparisons in these subsets."""
    sections = section_weights(suite, counts)
    averages = {
        average.name: average_weights(average.sections, sections, counts)
        for average in suite.averages
        if all(name in sections for name in average.sections)
    }
    return [
        *(_Slice("subset", name, {name: 1.0}) for name in counts),
        *(_Slice("section", name, weights) for name, weights in sections.items()),
        *(_Slice("average", name, weights) for name, weights in averages.items()),
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


def _adjusted(verdicts: Sequence[Verdict]) -> tuple[Verdict, ...]:
    """Return the verdicts by level, their p values adjusted within each."""
    ordered: list[Verdict] = []
    for level in LEVELS:
        of_level = [verdict for verdict in verdicts if verdict.level == level]
        tested = [item.difference.p_value for item in of_level if item.difference is not None]
        adjusted = iter(holm(tested) if tested else [])
        for verdict in of_level:
            p = next(adjusted) if verdict.difference is not None else None
            ordered.append(replace(verdict, adjusted=p))
    return tuple(ordered)


# --- paired --------------------------------------------------------------------------------------


class _Pairs(NamedTuple):
    """What both results scored: one entry per comparison, subsets by position in ``names``."""

    names: list[str]
    subsets: npt.NDArray[np.int64]
    old: Floats
    new: Floats

    def counts(self) -> dict[str, int]:
        """Return the comparisons per subset, of subsets that have any."""
        sizes = np.bincount(self.subsets, minlength=len(self.names)).tolist()
        return {name: n for name, n in zip(self.names, sizes, strict=True) if n}


def _paired(old: Result, new: Result, suite: Suite) -> tuple[list[Verdict], int]:
    """Return the verdicts, and how many comparisons only one of the two scored."""
    pairs, missing = _match(old, new, suite)
    slices = _slices(suite, pairs.counts())
    verdicts = [_paired_verdict(part, pairs) for part in slices]
    return [*verdicts, *_absent(verdicts, old, new)], missing


def _match(old: Result, new: Result, suite: Suite) -> tuple[_Pairs, int]:
    before, after = credits_of(old, suite), credits_of(new, suite)
    if before.keys() != after.keys():
        odd = sorted(before.keys() ^ after.keys())
        raise ResultError(
            f"{title_of(old)} and {title_of(new)} are not comparable:"
            f' {counted(len(odd), "comparisons")} only in one of them, such as "{odd[0]}"; run both'
            " on the same data"
        )
    names = list(new.subsets)
    position = {name: i for i, name in enumerate(names)}
    rows = [
        (position[subset_of(identity, names)], before[identity], credit)
        for identity, credit in after.items()
    ]
    both = [(subset, a, b) for subset, a, b in rows if a is not None and b is not None]
    if not both:
        raise ResultError(f"{title_of(old)} and {title_of(new)}: no comparison was scored by both")
    one_only = sum((a is None) != (b is None) for _, a, b in rows)
    table = np.array(both, dtype=np.float64)
    return _Pairs(names, table[:, 0].astype(np.int64), table[:, 1], table[:, 2]), one_only


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


def _paired_verdict(part: _Slice, pairs: _Pairs) -> Verdict:
    names = sorted(part.weights, key=pairs.names.index)
    weights = np.array([part.weights[name] for name in names])
    positions = np.array([pairs.names.index(name) for name in names])
    mask = np.isin(pairs.subsets, positions)
    strata = np.searchsorted(positions, pairs.subsets[mask])
    old, new = pairs.old[mask], pairs.new[mask]
    steps, counts = new - old, np.bincount(strata)
    means = [np.bincount(strata, weights=values) / counts for values in (old, new, steps**2)]
    shares = weights / weights.sum()
    return Verdict(
        level=part.level,
        name=part.name,
        old=float(means[0] @ shares),
        new=float(means[1] @ shares),
        n=int(mask.sum()),
        difference=_test(steps, strata, weights),
        gained=int((steps > 0.0).sum()),
        lost=int((steps < 0.0).sum()),
        discordance=tuple(means[2].tolist()),
        counts=tuple(counts.tolist()),
        weights=tuple(weights.tolist()),
    )


def _test(steps: Floats, strata: npt.NDArray[np.int64], weights: Floats) -> Difference:
    """Test differences of credits: by McNemar's exact test where it applies, else by sign flips."""
    shares = weights / np.bincount(strata)
    is_plain = bool(np.allclose(shares, shares[0], rtol=1e-9, atol=0.0))
    if not is_plain or not np.isin(steps, (-1.0, 0.0, 1.0)).all():
        return paired_difference(steps, strata, weights=weights)
    # Its p values are replaced, so that one draw is enough.
    found = paired_difference(steps, strata, weights=weights, resampling=Resampling(resamples=1))
    gained, lost = int((steps > 0.0).sum()), int((steps < 0.0).sum())
    return replace(found, p_value=mcnemar(gained, lost), p_drop=_exact_drop(gained, lost))


def _exact_drop(gained: int, lost: int) -> float:
    """Return P(X <= gained) for X ~ Binomial(gained + lost, 1/2), McNemar's one-sided p value."""
    if lost > gained:
        return mcnemar(gained, lost) / 2.0
    # The other tail begins one further, and there McNemar's value is exactly twice it.
    return 1.0 - mcnemar(gained + 1, lost - 1) / 2.0 if lost else 1.0


# --- unpaired ------------------------------------------------------------------------------------


def _unpaired(old: Result, new: Result, suite: Suite) -> list[Verdict]:
    counts = {name: item.n for name, item in new.subsets.items() if item.n is not None}
    counts = counts or {name: item.n for name, item in old.subsets.items() if item.n is not None}
    # Without any count, as between two cards, nothing says how much chance there is.
    slices = _slices(suite, counts) if counts else []
    verdicts = [_unpaired_verdict(part, old, new, counts) for part in slices]
    tested = [verdict for verdict in verdicts if verdict is not None]
    return [*tested, *_absent(tested, old, new)]


def _unpaired_verdict(
    part: _Slice, old: Result, new: Result, counts: Mapping[str, int]
) -> Verdict | None:
    """Return the verdict from subsets where both have them, else from the slice's own numbers."""
    sizes = np.array([counts[name] for name in part.weights], dtype=np.float64)
    weights = np.array(list(part.weights.values()))
    if all(name in result.subsets for result in (old, new) for name in part.weights):
        sides = [[result.subsets[name].accuracy for name in part.weights] for result in (old, new)]
    else:
        whole = [_group(result, f"{part.level}").get(part.name) for result in (old, new)]
        if whole[0] is None or whole[1] is None:
            return None
        sides = [[whole[0].accuracy], [whole[1].accuracy]]
        # As many comparisons as would vary like this weighted mean of equal accuracies:
        # (sum w)^2 / sum(w^2 / n); Kish (1965), Survey sampling, section 11.7.
        sizes = np.array([weights.sum() ** 2 / (weights**2 / sizes).sum()])
        weights = np.array([1.0])
    before, after = (np.array(side) for side in sides)
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
        counts=tuple(int(size) for size in sizes),
        weights=tuple(weights.tolist()),
    )
