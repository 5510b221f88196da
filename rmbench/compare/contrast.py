"""Two results in, verdicts out: which subsets, sections and averages changed beyond chance."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from rmbench.accuracy.agreement import Agreement, agreement
from rmbench.accuracy.credit import judge
from rmbench.accuracy.intervals import Floats
from rmbench.compare.comparable import (
    changed_settings,
    check_comparable,
    check_rewards,
    unpaired_note,
    with_clusters,
    with_means,
)
from rmbench.compare.family import holm, max_t
from rmbench.compare.paired_verdicts import clusters_of, has_distinct, paired_verdicts
from rmbench.compare.unpaired_verdicts import unpaired_verdicts
from rmbench.compare.verdict import LEVELS, Verdict
from rmbench.result.record import Result
from rmbench.suite.definition import Suite
from rmbench.wording import counted

__all__ = ["Contrast", "compare", "stacked_steps"]


_ALPHA: Final = 0.05


UNKNOWN_CLUSTERS: Final = (
    "which comparisons share a prompt is not recorded: each counts as a sample of its own, so that"
    " p values may be too small and intervals too narrow; run one of the two again"
)


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
        verdicts, missing = paired_verdicts(old, new, suite)
        if missing:
            dropped = counted(missing, "comparisons that one of the two dropped")
            notes.append(f"left out of both: {dropped}")
        if clusters_of(old, new) is None and not has_distinct(old, new):
            notes.append(UNKNOWN_CLUSTERS)
    else:
        notes.append(unpaired_note(old, new))
        verdicts = unpaired_verdicts(old, new, suite)
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


def _agreement(old: Result, new: Result, suite: Suite) -> Agreement | None:
    if not (old.rewards and new.rewards):
        return None
    before = {
        item.id: outcome
        for item, outcome in zip(old.rewards, judge(suite, old.rewards), strict=True)
    }
    return agreement([before[item.id] for item in new.rewards], judge(suite, new.rewards))
